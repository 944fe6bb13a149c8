# Answers einhornsh as a Ruby Einhorn does, in the bytes that Psych writes. What the second argument
# says happens to an `upgrade`; with `old` no answer carries an id, as in the first releases.
require "json"
require "socket"
require "yaml"

path, upgrade = ARGV
ESCAPES = {"%" => "%25", "\n" => "%0A"}.freeze

STATE = {
  state: {
    children: {12 => {type: :worker, version: 0, acked: true, index: 0}},
    config: {number: 2, backlog: 100, seconds: 1},
    orig_cmd: ["web", "100%", "yes", "a\nb"],
    cmd_name: nil
  }
}.freeze

ANSWERS = {
  "help" => "You are speaking to the Einhorn command socket. You can run the following commands:\n" \
            "\ndec: Decrement the number of Einhorn child processes\ninc: And so on: 100%\n\n",
  "state" => YAML.dump(STATE),
  "inc" => "Incrementing number of workers from 1 -> 2",
  "dec" => "Can't decrease number of workers (already at 1).  Run kill 7 if you really want to " \
           "kill einhorn.",
  "set_workers" => "",
  "signal" => "Successfully sent HUPs to 1 processes: [12]\nSuccessfully sent USR1s to 0: []",
  "louder" => 0
}.freeze

UPGRADE = [
  "Upgrading smoothly, as commanded", "Reloading einhorn master (/usr/bin/einhorn)...",
  "Starting smooth upgrade from version 0...", "===> Launched 13 (index: 1)",
  "===> Exited worker 12", "Upgraded successfully to version 1 (Einhorn 1.1.1)."
].freeze

listener = UNIXServer.new(path)
loop do
  client = listener.accept
  answer = lambda do |message, id, last|
    reply = {"message" => message}
    reply["request_id"] = id if id && upgrade != "old"
    reply["wait"] = true unless last
    client.write(YAML.dump(reply).gsub(/[%\n]/, ESCAPES) + "\n")
  end
  while (line = client.gets)
    request = YAML.safe_load(line.gsub(/%(?:25|0A)/, ESCAPES.invert))
    puts JSON.generate(request)
    $stdout.flush
    id = request["id"]
    if request["command"] != "upgrade"
      answer.call(ANSWERS.fetch(request["command"]), id, true)
      next
    end
    UPGRADE.first(upgrade == "refused" ? 1 : 4).each { |message| answer.call(message, id, false) }
    break if upgrade == "gone"
    next if upgrade == "refused"
    UPGRADE.drop(4).each { |message| answer.call(message, id, false) }
    answer.call("Upgrade done", id, true)
  end
  client.close
end
