//! A kernel that refuses to tell of children, as under a filter of system calls: no worker is
//! forgotten.

use std::io;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use crate::support::failed_starts::refused;
use crate::support::releases::script;
use crate::support::rig::{Rig, prepare};

crate::tests![
    workers_of_which_the_kernel_does_not_tell_are_taken_to_live,
    a_master_that_could_not_see_workers_end_does_not_start,
];

/// Has a system call fail from now on, in this process and in all that come of it; see seccomp(2).
fn refuse(call: libc::c_long, errno: i32) -> io::Result<()> {
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt,
        jf,
        k,
    };
    let call = u32::try_from(call).unwrap_or(u32::MAX);
    let filter = [
        // The number of the call is the first word of what the filter looks at.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call),
        instruction(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | errno.cast_unsigned(),
        ),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap_or(0),
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: `program` and `filter` live through the calls, which only read them.
    unsafe {
        Errno::result(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        Errno::result(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program))?;
    }
    Ok(())
}

fn without_waitid() -> io::Result<()> {
    refuse(libc::SYS_waitid, libc::EPERM)
}

fn without_waitid_at_all() -> io::Result<()> {
    refuse(libc::SYS_waitid, libc::ENOSYS)
}

fn without_any_wait() -> io::Result<()> {
    refuse(libc::SYS_waitid, libc::EPERM)?;
    refuse(libc::SYS_wait4, libc::EPERM)
}

fn workers_of_which_the_kernel_does_not_tell_are_taken_to_live() {
    for filter in [without_waitid, without_waitid_at_all] {
        for is_wrapped in [false, true] {
            let rig = Rig::new();
            let wrapper = script(&rig, "wrapper", "#!/bin/sh\nexec EINHORN \"$@\"\n");
            let options = ["--reexec-as", wrapper.to_str().unwrap()];
            let options = if is_wrapped { &options[..] } else { &[] };
            let words = [options, &["-n", "2", "-m", "0", "sleep", "1000"]].concat();
            let mut command = rig.einhorn(&words);
            prepare(&mut command, filter);
            let mut master = rig.launch(command);
            let before = master.settled(2);
            for _ in 0..2 {
                assert!(master.say("reload", &[]).starts_with("Reload done"), "{}", rig.log());
                assert_eq!(master.settled(2), before, "{}", rig.log());
                assert_eq!(crate::support::proc::children(master.pid()).len(), 2);
            }
            master.until_logged("Cannot ask which workers live");
            // Those that end are noticed all the same.
            let after = master.replaced(&before[..1], 2);
            assert!(after.contains(&before[1]));
            master.signal(Signal::SIGTERM);
            assert!(master.ended().success(), "{}", rig.log());
            rig.until_empty();
        }
    }
}

fn a_master_that_could_not_see_workers_end_does_not_start() {
    let rig = Rig::new();
    let mut command = rig.einhorn(&["sleep", "1000"]);
    prepare(&mut command, without_any_wait);
    refused(&rig, command)
        .assert_says(1, &["cannot ask what has happened to children (waitid and wait4)"]);
}
