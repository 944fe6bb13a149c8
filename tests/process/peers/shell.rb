# A client that talks as Einhorn's own shell does: YAML with an id and a list of words, and messages
# until one comes that does not say to wait. Prints each with its line, as JSON.
require "json"
require "set"
require "shellwords"
require "socket"
require "yaml"

ESCAPES = {"%" => "%25", "\n" => "%0A"}.freeze

@master = UNIXSocket.open(ARGV.shift)

def ask(request)
  @master.write(YAML.dump(request).gsub(/[%\n]/, ESCAPES) + "\n")
  loop do
    line = @master.readline
    yaml = line.gsub(/%(?:25|0A)/, ESCAPES.invert)
    message = YAML.safe_load(yaml, permitted_classes: [Symbol, Set])
    puts JSON.generate([message["message"], message["request_id"], message["wait"]])
    $stdout.flush
    break unless message["wait"]
  end
end

ask({"command" => "ehlo", "user" => "100% gdb"})
ARGV.each.with_index(1) do |line, id|
  command, *words = Shellwords.split(line)
  ask({"id" => id, "command" => command, "args" => words})
end
