import { badRequest } from "./answers.ts";
import type { Call, Method } from "./call.ts";
import { isImage, MAX_PHOTO_BYTES, type StoredFile } from "./files.ts";
import { destination, place } from "./messages.ts";
import { Params } from "./params.ts";
import { caption, replyMarkup } from "./text.ts";
import type { Json } from "./world.ts";

type Kind = "photo" | "document" | "voice" | "audio" | "video";

const FOLDERS: Record<Kind, string> = {
  photo: "photos",
  document: "documents",
  voice: "voice",
  audio: "music",
  video: "videos",
};

/** The file that a parameter means: uploaded now, or one that Telegram has. */
function fileOf(call: Call, name: string, kind: Kind): StoredFile {
  const { files } = call.telegram;
  const upload = call.params.upload(name);
  if (!upload) {
    const id = call.params.text(name);
    if (!id) throw badRequest(`there is no ${kind} in the request`);
    if (/^https?:/.test(id)) throw badRequest("failed to get HTTP URL content");
    return files.find(id);
  }
  if (upload.bytes.length === 0) throw badRequest("file must be non-empty");
  if (kind === "photo") checkPhoto(upload.bytes);
  return files.add(upload, FOLDERS[kind]);
}

function checkPhoto(bytes: Buffer): void {
  if (bytes.length > MAX_PHOTO_BYTES) {
    throw badRequest(
      `file of size ${bytes.length} bytes is too big for a photo; the maximum size is ${MAX_PHOTO_BYTES} bytes`,
    );
  }
  if (!isImage(bytes)) throw badRequest("IMAGE_PROCESS_FAILED");
}

/** How a message shows its file. */
export function fileBody(kind: string, file: StoredFile, about: Json): Json {
  if (kind === "photo") {
    return { photo: [90, 800].map((size) => ({ ...about, width: size, height: size })) };
  }
  const named = kind === "voice" ? {} : { file_name: file.name };
  const timed = kind === "document" ? {} : { duration: 1 };
  const sized = kind === "video" ? { width: 640, height: 480 } : {};
  return { [kind]: { ...named, mime_type: file.mime, ...timed, ...sized, ...about } };
}

function send(kind: Kind): Method {
  return (call) => {
    const content = caption(call.params);
    const where = destination(call);
    replyMarkup(call.params);
    const file = fileOf(call, kind, kind);
    call.telegram.limits.message(where.chat.id);
    const body = fileBody(kind, file, call.telegram.files.json(file));
    return call.telegram.world.json(place(call, where, { ...content, kind, body }));
  };
}

interface Medium {
  type?: string;
  media?: string;
}

function sendMediaGroup(call: Call): Json[] {
  const media = call.params.json<Medium[]>("media");
  if (!Array.isArray(media)) throw badRequest("expected an Array of InputMedia");
  if (media.length < 2 || media.length > 10) {
    throw badRequest("wrong number of messages in the album; must be from 2 to 10");
  }
  const parts = media.map((medium) => mediumOf(call, medium));
  const where = destination(call);
  call.telegram.limits.message(where.chat.id, media.length);
  const album = String(call.telegram.world.newId());
  return parts.map(({ kind, content, body }) =>
    call.telegram.world.json(
      place(call, where, { ...content, kind, body: { ...body, media_group_id: album } }),
    ),
  );
}

function mediumOf(call: Call, medium: Medium) {
  const { type = "" } = medium;
  if (!["photo", "video", "document", "audio"].includes(type)) {
    throw badRequest(`can't parse InputMedia: type "${type}" is unsupported`);
  }
  const kind = type as Kind;
  const params = new Params({ ...medium }, call.params.uploads);
  const file = fileOf({ ...call, params }, "media", kind);
  const body = fileBody(kind, file, call.telegram.files.json(file));
  return { kind, content: caption(params), body };
}

function getFile({ telegram: { files }, params }: Call): Json {
  return files.open(params.text("file_id"));
}

export const mediaMethods: Record<string, Method> = {
  sendPhoto: send("photo"),
  sendDocument: send("document"),
  sendVoice: send("voice"),
  sendAudio: send("audio"),
  sendVideo: send("video"),
  sendMediaGroup,
  getFile,
};
