//! Addresses of listeners, as given to `-b` and in `srv:` arguments.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::state::{Address, Bind, ListenerOptions};

/// Parses `ADDR[,opt…]`.
///
/// # Errors
/// One line that names the address, what is wrong with it and what is expected.
pub fn parse_bind(text: &str) -> Result<Bind, String> {
    let mut parts = text.split(',');
    let address = parts.next().unwrap_or_default();
    let fail = |why: String| format!("invalid listener {text:?}: {why}");
    let address = match address.strip_prefix("unix:") {
        Some("") => return Err(fail("unix: must be followed by a path".to_owned())),
        Some(path) => Address::Unix { path: path.into(), mode: None, owner: None, group: None },
        None => inet(address).map_err(fail)?,
    };
    let mut bind = Bind { address, options: ListenerOptions::default() };
    for option in parts {
        apply(&mut bind, option).map_err(fail)?;
    }
    Ok(bind)
}

/// Whether an argument of the program is meant as an address: it ends in a numeric port, or begins
/// with `unix:/`.
pub(super) fn looks_like_address(text: &str) -> bool {
    let address = text.split(',').next().unwrap_or_default();
    let inet = address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    inet || address.starts_with("unix:/")
}

fn inet(text: &str) -> Result<Address, String> {
    let (datagrams, host_port) = match text.strip_prefix("udp:") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let expected = "expected HOST:PORT, [IPv6]:PORT, udp:HOST:PORT or unix:PATH";
    let (host, port) = host_port.rsplit_once(':').ok_or(expected)?;
    let port =
        port.parse().map_err(|_| format!("{port:?} is not a port number from 0 to 65535"))?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => match inner.parse::<Ipv6Addr>() {
            Ok(_) => inner,
            Err(_) => return Err(format!("{inner:?} in brackets is not an IPv6 address")),
        },
        None if host.contains(':') => {
            return Err(format!("an IPv6 address must be in brackets: [{host}]:{port}"));
        }
        None => host,
    };
    if host.is_empty() {
        return Err(expected.to_owned());
    }
    let host = host.to_owned();
    Ok(match datagrams {
        true => Address::Udp { host, port },
        false => Address::Tcp { host, port },
    })
}

fn apply(bind: &mut Bind, option: &str) -> Result<(), String> {
    if let (Some((name, value)), Address::Unix { mode, owner, group, .. }) =
        (option.split_once('='), &mut bind.address)
    {
        match name.to_ascii_lowercase().as_str() {
            "mode" => *mode = Some(permissions(value)?),
            "owner" => *owner = Some(value.to_owned()),
            "group" => *group = Some(value.to_owned()),
            _ => return Err(unknown(option, &bind.address)),
        }
        return Ok(());
    }
    let inet6 = match &bind.address {
        Address::Tcp { host, .. } | Address::Udp { host, .. } => host.parse::<Ipv4Addr>().is_err(),
        Address::Unix { .. } => false,
    };
    match option.to_ascii_lowercase().as_str() {
        "r" | "so_reuseaddr" => bind.options.reuse_address = true,
        "n" | "o_nonblock" => bind.options.nonblocking = true,
        "v6only" if inet6 => bind.options.v6only = true,
        _ => return Err(unknown(option, &bind.address)),
    }
    Ok(())
}

fn unknown(option: &str, address: &Address) -> String {
    let known = match address {
        Address::Unix { .. } => "r, n, mode=0660, owner=USER, group=GROUP",
        Address::Tcp { .. } | Address::Udp { .. } => "r, n, and for IPv6 v6only",
    };
    format!("unknown option {option:?}; known options: {known}")
}

fn permissions(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| format!("mode={text} is not an octal mode from 0 to 777"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_parsed() {
        let options = |text: &str| parse_bind(text).unwrap().options;
        assert!(options("127.0.0.1:80,R,SO_REUSEADDR").reuse_address);
        assert!(options("127.0.0.1:80,o_nonblock").nonblocking);
        assert!(options("[::1]:80,v6only").v6only);
        for (text, shown) in [
            ("localhost:0", "localhost:0"),
            ("[::]:8080,n", "[::]:8080"),
            ("udp:127.0.0.1:53", "udp:127.0.0.1:53"),
            ("udp:[::1]:53", "udp:[::1]:53"),
            ("unix:/run/x.sock,mode=0660,owner=www,group=33", "unix:/run/x.sock"),
        ] {
            assert_eq!(parse_bind(text).unwrap().address.to_string(), shown);
        }
        let bind = parse_bind("unix:/x,mode=660,owner=www").unwrap();
        let Address::Unix { mode, owner, group, .. } = bind.address else { panic!() };
        assert_eq!((mode, owner.as_deref(), group), (Some(0o660), Some("www"), None));
    }

    #[test]
    fn errors_name_the_address_and_the_problem() {
        for (text, why) in [
            ("80", "expected HOST:PORT"),
            (":80", "expected HOST:PORT"),
            ("127.0.0.1:", "not a port"),
            ("127.0.0.1:65536", "not a port"),
            ("::1:80", "[::1]:80"),
            ("[::x]:80", "not an IPv6 address"),
            ("127.0.0.1:80,x", "unknown option \"x\""),
            ("127.0.0.1:80,v6only", "unknown option \"v6only\""),
            ("127.0.0.1:80,mode=0660", "unknown option \"mode=0660\""),
            ("127.0.0.1:80,", "unknown option \"\""),
            ("unix:", "followed by a path"),
            ("unix:/x,mode=999", "not an octal mode"),
            ("unix:/x,colour=red", "unknown option"),
        ] {
            let message = parse_bind(text).unwrap_err();
            assert!(message.contains(why) && message.contains(text), "{text}: {message}");
        }
    }
}
