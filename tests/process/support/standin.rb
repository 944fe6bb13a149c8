#!/usr/bin/env ruby
# Stands in for a Ruby Einhorn's master where tests need one: what it is handed, what it hands on,
# and when, is as the original does it (behaviour.md sections 5 to 9); the rest is left out.
#
#   standin.rb -b IP:PORT[,r][,n] -n N -m MODE -d SOCKET [-e PIDFILE] [-f LOCKFILE] [-s SECONDS]
#              [-g] [--reexec-as COMMAND] -- PROGRAM [ARGUMENTS...]
#   standin.rb --upgrade-check -- PROGRAM...      standin.rb --with-state-fd FD -- PROGRAM...
%w[etc fcntl optparse set shellwords socket tmpdir yaml].each { |library| require library }

ORIGINAL = ENV.to_h
SIGNALS = %w[HUP INT QUIT TERM USR2 CHLD ALRM].freeze
Client = Struct.new(:io, :input, :output, :subscriptions)
S = { children: {}, config: { number: 1, backlog: 100, seconds: 1 }, versions: {}, version: 0,
      sockets: {}, orig_cmd: nil, bind: [], bind_fds: [], bound_ports: [], cmd: nil,
      script_name: nil, respawn: true, upgrading: false, smooth_upgrade: false,
      reloading_for_upgrade: false, path: nil, cmd_name: nil, verbosity: 1, generation: 0,
      last_spinup: nil, ack_mode: { type: :timer, timeout: 1 }, kill_children_on_exit: false,
      command_socket_as_fd: false, socket_path: nil, pidfile: nil, lockfile: nil,
      consecutive_deaths_before_ack: 0, last_upgraded: nil,
      nice: { master: nil, worker: nil, renice_cmd: "/usr/bin/renice" }, reexec_commandline: nil,
      drop_environment_variables: [], signal_timeout: nil, preloaded: false }
$clients, $timers, $arrived, $kept = {}, [], [], []

def log(text, tag = nil)
  warn("[MASTER #{$$}] INFO: #{text}")
  $clients.values.each { |client| told(client, text) } if tag
end

def told(client, text, last = false)
  id = client.subscriptions[:upgrade] or return
  answer(client, text, id, last)
  client.subscriptions.delete(:upgrade) if last
end

def answer(client, message, id, last = true)
  reply = { "message" => message }
  reply.merge!({ "request_id" => id }, last ? {} : { "wait" => true }) if id
  client.output << YAML.dump(reply).gsub(/[%\n]/, "%" => "%25", "\n" => "%0A") << "\n"
  write(client)
end

def write(client)
  client.output = client.output.byteslice(client.io.write_nonblock(client.output)..)
rescue IO::WaitWritable
rescue SystemCallError
  leave(client)
end

def leave(client) = $clients.delete(client.io)&.io&.close

def heard(client)
  client.input << client.io.read_nonblock(1024)
  while $clients[client.io] && client.input.include?("\n")
    line, client.input = client.input.split("\n", 2)
    asked(client, request(line))
  end
rescue IO::WaitReadable
rescue EOFError, SystemCallError
  leave(client)
end

def request(line)
  YAML.safe_load(line.gsub(/%25|%0A/, "%25" => "%", "%0A" => "\n"))
rescue Psych::SyntaxError
end

def asked(client, request)
  return answer(client, "Could not parse command", nil) unless request.is_a?(Hash)
  id = request["id"]
  case command = request["command"]
  when "worker:ack" then (ack(request["pid"]); leave(client))
  when "ehlo" then answer(client, "Welcome, #{request["user"]}! You speak to #{$$}", id)
  when "state" then answer(client, YAML.dump(dump), id)
  when "reload" then (answer(client, "Reloading, as commanded", id); reload)
  when "upgrade", "upgrade_fleet"
    answer(client, "Upgrading, as commanded", id, false)
    client.subscriptions[:upgrade] = id
    upgrade(command == "upgrade")
  else answer(client, "Unrecognized command: #{command.inspect}", id)
  end
end

def dump
  clients = $clients.values.map do |client|
    entry = { class: "Einhorn::Event::Connection", socket: client.io.fileno }
    entry[:read_buffer] = client.input unless client.input.empty?
    entry[:write_buffer] = client.output unless client.output.empty?
    entry.merge(subscriptions: client.subscriptions)
  end
  server = { class: "Einhorn::Event::CommandServer", server: $server.fileno }
  { state: S, persistent_descriptors: [server, *clients, *$timers] }
end

def command_line(*flags) = [*(S[:reexec_commandline] || [$0]), *flags, "--", *S[:cmd]]

def reload
  return unless S[:respawn]
  read, write = IO.pipe
  [read, write].each { |io| io.close_on_exec = false }
  fork do
    S[:children][$$] = { type: :state_passer }
    S[:generation] += 1
    read.close
    write.write(YAML.dump(dump))
    exit!(0)
  end
  write.close
  environment = ORIGINAL.reject { |name, _| S[:drop_environment_variables].include?(name) }
  check = spawn(environment, *command_line("--upgrade-check"),
                unsetenv_others: true, close_others: false)
  Process.wait(check)
  raise Errno::ECANCELED, "the check ended with #{$?}" unless $?.success?
  ENV.replace(environment)
  program, *words = command_line("--with-state-fd", read.fileno.to_s)
  exec([program, program], *words, close_others: false)
rescue SystemCallError => e
  log("Cannot reload: #{e}", :reload)
  S[:reloading_for_upgrade] = false
  read.close
end

def upgrade(is_smooth)
  S.merge!(smooth_upgrade: is_smooth, reloading_for_upgrade: true)
  reload
end

def begin_upgrade
  S.merge!(upgrading: true, version: S[:version] + 1, last_upgraded: Time.now,
           consecutive_deaths_before_ack: 0, reloading_for_upgrade: false)
  log("Starting upgrade to version #{S[:version]}", :upgrade)
  S[:smooth_upgrade] ? replenish_gradually : missing.times { start }
end

def workers = S[:children].select { |_, child| child[:type] == :worker }
def modern = workers.select { |_, worker| worker[:version] == S[:version] }
def staying(some) = some.select { |_, worker| worker[:signaled].empty? }
def missing = S[:config][:number] - modern.size

def start
  used = workers.values.map { |worker| worker[:index] }
  index = (0..).find { |number| !used.include?(number) }
  pid = fork do
    Process.setpgrp
    SIGNALS.each { |name| trap(name, "DEFAULT") }
    [$server, *$clients.keys].each(&:close)
    ENV.update("EINHORN_MASTER_PID" => Process.ppid.to_s, "EINHORN_SOCK_PATH" => S[:socket_path],
               "EINHORN_CHILD_INDEX" => index.to_s, "EINHORN_FD_COUNT" => S[:bind_fds].size.to_s)
    S[:bind_fds].each_with_index { |number, nth| ENV["EINHORN_FD_#{nth}"] = number.to_s }
    if S[:command_socket_as_fd]
      (given = UNIXSocket.open(S[:socket_path])).close_on_exec = false
      ENV["EINHORN_SOCK_FD"] = given.fileno.to_s
    end
    exec([S[:cmd][0]] * 2, *S[:cmd].drop(1), close_others: false)
  end
  S[:last_spinup] = Time.now
  S[:children][pid] = { type: :worker, version: S[:version], acked: false, signaled: Set.new,
                        last_signaled_at: nil, index: index, spinup_time: S[:last_spinup] }
  log("===> Launched #{pid} (index: #{index})", :upgrade)
  mode = S[:ack_mode]
  return if mode[:type] == :manual
  $timers << { class: "Einhorn::Event::ACKTimer", time: mode[:timeout], start: Time.now, pid: pid }
end

def ack(pid)
  return unless (worker = S[:children][pid]) && !worker[:acked]
  worker[:acked] = true
  S[:consecutive_deaths_before_ack] = 0
end

def tell_to_go(signal, some)
  some.each do |pid, worker|
    worker[:signaled] << signal
    worker[:last_signaled_at] = Time.now
    Process.kill(signal, pid) rescue Errno::ESRCH
  end
end

def take(signal)
  case signal
  when "HUP", "ALRM" then upgrade(true)
  when "CHLD" then nil
  else
    tell_to_go({ "INT" => "USR2" }.fetch(signal, signal), workers)
    S[:respawn] = false
    exit(1) if signal == "QUIT"
  end
end

def gone(pid)
  worker = S[:children].delete(pid)
  S[:consecutive_deaths_before_ack] += 1 if worker && worker[:acked] == false
  log("===> Exited #{worker ? worker[:type] : "stranger"} #{pid}", :upgrade)
end

def reap
  while (pid = Process.wait(-1, Process::WNOHANG)) do gone(pid) end
rescue Errno::ECHILD
end

def replenish
  return unless S[:respawn] && missing.positive?
  S[:last_spinup] ? replenish_gradually : missing.times { start }
end

def replenish_gradually
  return unless missing.positive?
  unacked = staying(modern).count { |_, worker| !worker[:acked] }
  pause = [S[:config][:seconds] * 1.5**S[:consecutive_deaths_before_ack], 30].min
  may_start = unacked < (S[:config][:max_unacked] || Etc.nprocessors)
  age = Time.now - S[:last_spinup]
  start if may_start && age > pause
end

def cull
  up = staying(modern).count { |_, worker| worker[:acked] }
  if S[:upgrading] && up >= S[:config][:number]
    S[:upgrading] = false
    $clients.values.each { |client| told(client, "Upgrade done", true) }
  end
  old = staying(workers).reject { |pid, _| modern.key?(pid) }
  excess = S[:upgrading] ? [old.size + up - S[:config][:number], 0].max : old.size
  tell_to_go("USR2", old.first(excess)) if !S[:upgrading] || S[:smooth_upgrade]
end

def ring
  due, $timers = $timers.partition { |timer| timer[:start] + timer[:time] <= Time.now }
  due.each { |timer| ack(timer[:pid]) }
end

def attend
  writers = $clients.values.reject { |client| client.output.empty? }.map(&:io)
  ready = IO.select([$server, $wake, *$clients.keys], writers, nil, 0.05) or return
  $wake.read_nonblock(1024) if ready[0].include?($wake)
  while (signal = $arrived.shift) do take(signal) end
  admit if ready[0].include?($server)
  ready[0].each { |io| heard($clients[io]) if $clients[io] }
  ready[1].each { |io| write($clients[io]) if $clients[io] }
end

def admit
  io = $server.accept_nonblock
  io.close_on_exec = false
  $clients[io] = Client.new(io, +"", +"", {})
rescue IO::WaitReadable
end

def restore(number)
  file = IO.for_fd(number)
  handed = YAML.safe_load(file.read, permitted_classes: [Set, Symbol, Time], aliases: true)
  file.close
  state = handed[:state]
  raise "wrong keys: #{state.keys - S.keys} #{S.keys - state.keys}" if state.keys != S.keys
  S.replace(state)
  S[:children].keys.each do |pid|
    gone(pid) if Process.wait(pid, Process::WNOHANG)
  rescue Errno::ECHILD
    gone(pid)
  end
  handed[:persistent_descriptors].each do |entry|
    case entry[:class]
    when "Einhorn::Event::CommandServer" then $server = UNIXServer.for_fd(entry[:server])
    when "Einhorn::Event::ACKTimer" then $timers << entry
    else
      io = Socket.for_fd(entry[:socket])
      buffers = %i[read_buffer write_buffer].map { |name| +entry.fetch(name, "") }
      $clients[io] = Client.new(io, *buffers, entry[:subscriptions])
    end
  end
end

# Whatever the socket is called, the others have their defaults.
def file(key) = S[key] || File.join(Dir.tmpdir, "einhorn.#{key.to_s.delete_suffix("file")}")

def begin_life
  File.open(file(:lockfile), "w", 0o600) do |lock|
    abort("the lock is taken") unless lock.flock(File::LOCK_EX | File::LOCK_NB)
    $server = UNIXServer.new(S[:socket_path])
    $server.close_on_exec = false
  end
  File.write(file(:pidfile), $$)
  S[:orig_cmd], S[:cmd] = ARGV.dup, ARGV.dup
  S[:bind].each do |host, port, options|
    socket = Socket.new(:INET, :STREAM)
    socket.close_on_exec = false
    socket.setsockopt(:SOCKET, :REUSEADDR, 1) if options.include?("r")
    socket.bind(Addrinfo.tcp(host, port))
    socket.listen(S[:config][:backlog])
    socket.fcntl(Fcntl::F_SETFL, Fcntl::O_RDWR | Fcntl::O_NONBLOCK) if options.include?("n")
    $kept << socket
    S[:bind_fds] << socket.fileno
    S[:bound_ports] << socket.local_address.ip_port
  end
end

# By this name it goes in ps.
Process.setproctitle("einhorn: stand-in")
is_handed = false
OptionParser.new do |options|
  options.on("-b ADDRESS") do |address|
    place, *words = address.split(",")
    host, port = place.split(":")
    S[:bind] << [host, Integer(port), words]
  end
  options.on("-n NUMBER", Integer) { |number| S[:config][:number] = number }
  options.on("-s SECONDS", Float) { |seconds| S[:config][:seconds] = seconds }
  options.on("-m MODE") do |mode|
    timer = { type: :timer, timeout: mode.to_f }
    S[:ack_mode] = mode == "manual" ? { type: :manual } : timer
  end
  options.on("-d PATH") { |path| S[:socket_path] = path }
  options.on("-e PATH") { |path| S[:pidfile] = path }
  options.on("-f PATH") { |path| S[:lockfile] = path }
  options.on("-g") { S[:command_socket_as_fd] = true }
  options.on("--reexec-as COMMAND") { |line| S[:reexec_commandline] = Shellwords.split(line) }
  options.on("--upgrade-check") { (log("Running under Ruby #{RUBY_VERSION}"); exit(0)) }
  options.on("--with-state-fd FD", Integer) { |number| (is_handed = true; restore(number)) }
end.order!

begin_life unless is_handed
$wake, waker = IO.pipe
SIGNALS.each do |name|
  trap(name) do
    $arrived << name
    waker.write_nonblock("!", exception: false)
  end
end
master = $$
at_exit { [file(:pidfile), S[:socket_path]].each { |path| File.unlink(path) } if $$ == master }
begin_upgrade if S[:reloading_for_upgrade]
while S[:respawn] || !S[:children].empty?
  reap
  replenish
  cull
  ring
  attend
end
