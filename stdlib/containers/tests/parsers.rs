//! What reads the texts that people write never panics, and reads what it wrote.
#![allow(clippy::unwrap_used)] // tests

use hob_model::Value;
use hob_primitive::FromValue;
use hob_std_containers::devices::Devices;
use hob_std_containers::parts::{Mounts, Networks, Ports, Restart};
use hob_std_containers::read::{ImageName, Name, Pairs, Words};
use hob_std_containers::sockets;
use proptest::prelude::*;

fn list(text: &str) -> Value {
    Value::Array(vec![Value::from(text)])
}

proptest! {
    #[test]
    fn nothing_panics(text in "\\PC{0,40}", numbers in "[0-9:./\\[\\]-]{0,30}") {
        for text in [&text, &numbers] {
            drop(Ports::from_value(list(text)));
            drop(Mounts::from_value(list(text)));
            drop(Devices::from_value(list(text)));
            drop(Networks::from_value(list(text)));
            drop(Restart::from_value(Value::from(text.as_str())));
            drop(Pairs::from_value(list(text)));
            drop(Words::from_value(Value::from(text.as_str())));
            drop(sockets::parse(text));
        }
    }

    #[test]
    fn names_cannot_leave_their_place_in_an_address(text in "\\PC{0,20}") {
        let harmless = |text: &str| !text.contains(['?', '#', '%', ' ', '\\']) && !text.contains("..");
        if let Ok(Name(name)) = Name::from_value(Value::from(text.as_str())) {
            prop_assert!(!name.contains('/') && !name.contains(['?', '#', '%', ' ']));
        }
        if let Ok(ImageName(name)) = ImageName::from_value(Value::from(text.as_str())) {
            prop_assert!(harmless(&name));
        }
    }

    #[test]
    fn ports_are_read_as_they_are_meant(host in 1_u16.., container in 1_u16.., udp: bool, at in 0..3_usize) {
        let ip = ["", "127.0.0.1", "::1"][at];
        let protocol = if udp { "udp" } else { "tcp" };
        let shown = match ip {
            "" => String::new(),
            "::1" => "[::1]:".to_owned(),
            ip => format!("{ip}:"),
        };
        let Ports(ports) = Ports::from_value(list(&format!("{shown}{host}:{container}/{protocol}"))).unwrap();
        prop_assert_eq!(ports.len(), 1);
        prop_assert_eq!(&ports[0].host_ip, ip);
        prop_assert_eq!(&ports[0].host_port, &host.to_string());
        prop_assert_eq!(&ports[0].container, &format!("{container}/{protocol}"));
    }

    #[test]
    fn ranges_have_as_many_ports_on_both_sides(from in 1_u16..60_000, to in 1_u16..60_000, count in 1_u16..20) {
        let text = format!("{from}-{}:{to}-{}", from + count - 1, to + count - 1);
        let Ports(ports) = Ports::from_value(list(&text)).unwrap();
        prop_assert_eq!(ports.len(), usize::from(count));
        prop_assert_eq!(&ports[0].host_port, &from.to_string());
        let longer = format!("{from}-{}:{to}-{}", from + count, to + count - 1);
        prop_assert!(Ports::from_value(list(&longer)).is_err());
    }
}
