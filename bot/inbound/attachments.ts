import type { Message } from "grammy/types";
import type { Attachment } from "#protocol/lane-entry.ts";

interface TelegramFile {
  file_id: string;
  file_unique_id: string;
  file_size?: number;
  file_name?: string;
  mime_type?: string;
}

/** The files of a message, as they are fetched when its turn starts. Pure. */
export function attachmentsOf(message: Message): Attachment[] {
  const { photo, document, voice, audio, video, video_note, animation, sticker } = message;
  const largest = photo?.at(-1);
  return [
    ...(largest ? [attachment("image", largest, "jpg", "image/jpeg")] : []),
    // An animation also comes as a document.
    ...(document && !animation ? [attachment(kindOf(document), document, "bin")] : []),
    ...(voice ? [attachment("audio", voice, "ogg", "audio/ogg")] : []),
    ...(audio ? [attachment("audio", audio, "mp3", "audio/mpeg")] : []),
    ...(video ? [attachment("video", video, "mp4", "video/mp4")] : []),
    ...(video_note ? [attachment("video", video_note, "mp4", "video/mp4")] : []),
    ...(animation ? [attachment("video", animation, "mp4", "video/mp4")] : []),
    ...(sticker ? [attachment("image", sticker, "webp", "image/webp")] : []),
  ];
}

function kindOf({ mime_type }: TelegramFile): Attachment["kind"] {
  if (mime_type?.startsWith("image/")) return "image";
  if (mime_type?.startsWith("audio/")) return "audio";
  return mime_type?.startsWith("video/") ? "video" : "file";
}

function attachment(
  kind: Attachment["kind"],
  file: TelegramFile,
  extension: string,
  type?: string,
): Attachment {
  const { file_id: fileId, file_size: bytes, mime_type: mimeType = type } = file;
  const name = file.file_name?.slice(-255) || `${kind}-${file.file_unique_id}.${extension}`;
  return {
    kind,
    fileId,
    name,
    ...(mimeType === undefined ? {} : { mimeType }),
    ...(bytes === undefined ? {} : { bytes }),
  };
}
