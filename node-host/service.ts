import { join } from "node:path";

export interface ServiceOptions {
  /** Program and arguments that run the node-host. */
  command: string[];
  home: string;
}

export interface ServiceFile {
  path: string;
  text: string;
  /** What the person runs then. */
  next: string[];
}

/** The file that makes the platform keep a node-host running: systemd for the user, or launchd on macOS. */
export function serviceFile(platform: string, options: ServiceOptions): ServiceFile | undefined {
  if (platform === "linux") return systemdUnit(options);
  if (platform === "darwin") return launchdAgent(options);
  return undefined;
}

function systemdUnit({ command, home }: ServiceOptions): ServiceFile {
  // KillMode=process: jobs outlive a restart of the node-host.
  const text = `[Unit]
Description=Argus node-host
After=network-online.target

[Service]
ExecStart=${command.map(systemdWord).join(" ")}
Restart=always
RestartSec=2
KillMode=process

[Install]
WantedBy=default.target
`;
  const next = [
    "systemctl --user daemon-reload",
    "systemctl --user enable --now argus-node-host",
    "loginctl enable-linger   # so that it also runs while you are logged out",
  ];
  return { path: join(home, ".config/systemd/user/argus-node-host.service"), text, next };
}

/** Quoted for systemd: a percent sign and a dollar sign are doubled, a quote and a backslash are escaped. */
function systemdWord(word: string): string {
  const escaped = word.replace(/[\\"]/g, "\\$&").replaceAll("%", "%%").replaceAll("$", "$$$$");
  return `"${escaped}"`;
}

function launchdAgent({ command, home }: ServiceOptions): ServiceFile {
  const path = join(home, "Library/LaunchAgents/dev.argus.node-host.plist");
  const words = command.map((word) => `    <string>${xml(word)}</string>`).join("\n");
  const text = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>dev.argus.node-host</string>
  <key>ProgramArguments</key>
  <array>
${words}
  </array>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <true/>
  <key>AbandonProcessGroup</key>
  <true/>
  <key>StandardErrorPath</key>
  <string>${xml(join(home, "Library/Logs/argus-node-host.log"))}</string>
</dict>
</plist>
`;
  return { path, text, next: [`launchctl load -w "${path}"`] };
}

const xml = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
