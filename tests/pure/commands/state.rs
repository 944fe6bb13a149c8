//! The state dump of a master in the middle of its life, in the shape of the original's
//! (behaviour.md section 9).

use std::time::Duration;

use einhorn::state::{Address, Bind, BoundBy, Config, Family, Listener, ListenerOptions, Nice};

use super::reply_to;
use crate::example::{Master, config};

#[test]
fn the_state_dump_has_everything() {
    assert_eq!(reply_to(&mut busy(), "{command: state}"), BUSY);
}

/// Every option off its default, workers in every condition.
fn busy() -> Master {
    let mut master = Master::started(busy_config());
    master.state.listeners = listeners();
    master.state.reexec_count = 2;
    master.turn_at(1000);
    master.ask("{command: worker:ping, pid: 1001, request_id: '1_000'}");
    master.ask("{command: worker:ping, pid: 1002}");
    master.ask("{command: dec}");
    master.turn_at(2000);
    master.exit(1000);
    master.ask("{command: set_workers, args: ['5']}");
    let orders = master.turn_at(2536);
    master.start(&orders[..1]);
    master.fail(4);
    master
}

fn busy_config() -> Config {
    Config {
        original_command: ["bin/web", "srv:[::1]:0,n"].map(Into::into).to_vec(),
        command: ["/srv/web/bin/web", "8"].map(Into::into).to_vec(),
        backlog: 1024,
        respawn_interval: Duration::from_millis(2500),
        signal_timeout: Some(Duration::from_secs(30)),
        max_unacked: Some(2),
        max_upgrade_additional: Some(1),
        retries: Some(5),
        kill_children_on_exit: true,
        command_socket_as_fd: true,
        command_name: Some("yes".to_owned()),
        nice: Nice {
            master: Some(-5),
            worker: Some(10),
            renice_command: Some(["sudo", "renice"].map(Into::into).to_vec()),
        },
        reexec_as: ["bin/reexec", "--"].map(Into::into).to_vec(),
        drop_env_vars: vec!["FOO".into()],
        ..config(4)
    }
}

fn listeners() -> Vec<Listener> {
    let tcp = |host: &str, port| Address::Tcp { host: host.to_owned(), port };
    let unix = Address::Unix { path: "/run/web.sock".into(), mode: None, owner: None, group: None };
    let reuse = ListenerOptions { reuse_address: true, ..ListenerOptions::default() };
    let nonblocking = ListenerOptions { nonblocking: true, ..ListenerOptions::default() };
    let listener = |address, options, bound_by, descriptor, family, port| Listener {
        bind: Bind { address, options },
        bound_by,
        descriptor,
        family,
        port,
    };
    let option = BoundBy::Option;
    vec![
        listener(tcp("127.0.0.1", 80), reuse, option, 6, Family::Inet, Some(80)),
        listener(unix, ListenerOptions::default(), option, 7, Family::Unix, None),
        listener(tcp("::1", 0), nonblocking, BoundBy::Word, 8, Family::Inet6, Some(40_001)),
    ]
}

const BUSY: &str = r#"---
:state:
  :children:
    1000:
      :type: :worker
      :version: 0
      :acked: false
      :signaled: !ruby/object:Set
        hash: {}
      :last_signaled_at:
      :index: 0
      :spinup_time: 2026-11-20 20:20:33.536000000 +00:00
    1001:
      :type: :worker
      :version: 0
      :acked: true
      :signaled: !ruby/object:Set
        hash: {}
      :last_signaled_at:
      :index: 1
      :spinup_time: 2026-11-20 20:20:31.000000000 +00:00
      :pinged_at: 2026-11-20 20:20:32.000000000 +00:00
      :pinged_request_id: "1_000"
    1002:
      :type: :worker
      :version: 0
      :acked: true
      :signaled: !ruby/object:Set
        hash: {}
      :last_signaled_at:
      :index: 2
      :spinup_time: 2026-11-20 20:20:31.000000000 +00:00
      :pinged_at: 2026-11-20 20:20:32.000000000 +00:00
      :pinged_request_id:
    1003:
      :type: :worker
      :version: 0
      :acked: true
      :signaled: !ruby/object:Set
        hash:
          USR2: true
      :last_signaled_at: 2026-11-20 20:20:33.000000000 +00:00
      :index: 3
      :spinup_time: 2026-11-20 20:20:31.000000000 +00:00
  :config:
    :number: 5
    :backlog: 1024
    :seconds: 2.5
    :max_unacked: 2
    :max_upgrade_additional: 1
    :retries: 5
  :versions: {}
  :version: 0
  :sockets:
    ? - "::1"
      - 0
      - - "n"
    : 8
  :orig_cmd:
  - "bin/web"
  - "srv:[::1]:0,n"
  :bind:
  - - "127.0.0.1"
    - 80
    - - "r"
  - - "unix:/run/web.sock"
    -
    - []
  :bind_fds:
  - 6
  - 7
  :bound_ports:
  - 80
  -
  :cmd:
  - "/srv/web/bin/web"
  - "8"
  :script_name:
  :respawn: true
  :upgrading: false
  :smooth_upgrade: false
  :reloading_for_upgrade: false
  :path:
  :cmd_name: "yes"
  :verbosity: 1
  :generation: 2
  :last_spinup: 2026-11-20 20:20:33.536000000 +00:00
  :ack_mode:
    :type: :timer
    :timeout: 1.0
  :kill_children_on_exit: true
  :command_socket_as_fd: true
  :socket_path: "/run/einhorn.sock"
  :pidfile: "/run/einhorn.pid"
  :lockfile: "/run/einhorn.lock"
  :consecutive_deaths_before_ack: 1
  :last_upgraded:
  :nice:
    :master: -5
    :worker: 10
    :renice_cmd: "sudo renice"
  :reexec_commandline:
  - "bin/reexec"
  - "--"
  :drop_environment_variables:
  - "FOO"
  :signal_timeout: 30
  :preloaded: false
"#;
