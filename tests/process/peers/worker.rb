# A worker that asks and tells what Einhorn's library for Ruby workers does, in the ways that it
# offers: `env` and `direct` find the command socket by its path, `fd` uses the connection of -g,
# and `kept` keeps that one and pings over it.
require "socket"
require "yaml"

how, *pings = ARGV

def say(master, message)
  escapes = {"%" => "%25", "\n" => "%0A"}
  master.write(YAML.dump(message).gsub(/[%\n]/, escapes) + "\n")
end

def given(name)
  ENV.fetch("EINHORN_#{name}")
end

abort "not a worker" unless given("MASTER_PID").to_i == Process.ppid
abort "no index" unless given("CHILD_INDEX").match?(/\A\d+\z/)
abort "no listener" unless Integer(given("FD_COUNT")) == 1
abort "other listeners" unless given("FDS") == given("FD_0")
listener = TCPServer.for_fd(Integer(given("FD_0")))
trap("USR2") { exit }

master =
  if %w[env direct].include?(how)
    UNIXSocket.open(given("SOCK_PATH"))
  else
    UNIXSocket.for_fd(Integer(given("SOCK_FD")))
  end
say(master, {"command" => "worker:ack", "pid" => $$})
pings.each { |id| say(master, {"command" => "worker:ping", "pid" => $$, "request_id" => id}) }
master.close unless how == "kept"

loop do
  client = listener.accept
  nil until client.gets.to_s.chomp.empty?
  client.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello from #{$$}\n")
  client.close
end
