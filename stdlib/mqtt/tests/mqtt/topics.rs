//! Names and filters of topics, by the examples of section 4.7 of the standard.

use hob_std_mqtt::{broker, check_filter, check_name, matches};

#[test]
fn filters_let_topics_through() {
    for (filter, topic, through) in [
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/#", "sport", true),
        ("#", "sport/tennis", true),
        ("#", "$SYS/monitor", false),
        ("+/monitor", "$SYS/monitor", false),
        ("$SYS/#", "$SYS/monitor", true),
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("sport", "Sport", false),
    ] {
        assert_eq!(matches(filter, topic), through, "{filter} and {topic}");
    }
}

#[test]
fn what_is_no_topic_is_refused() {
    for filter in ["", "sport/tennis#", "sport/tennis/#/ranking", "sport+", "+a/b", "a\0b"] {
        assert!(check_filter(filter).is_err(), "{filter}");
    }
    for filter in ["#", "+", "+/tennis/#", "sport/+/player1", "/"] {
        check_filter(filter).unwrap();
    }
    for name in ["a/+", "#", ""] {
        assert!(check_name(name).is_err(), "{name}");
    }
}

#[test]
fn addresses_of_brokers() {
    let found = |text: &str| broker(text).map(|it| (it.host, it.port, it.tls)).map_err(|error| error.message);
    assert_eq!(found("mqtt://broker.lan"), Ok(("broker.lan".to_owned(), 1883, false)));
    assert_eq!(found("mqtts://broker.lan/"), Ok(("broker.lan".to_owned(), 8883, true)));
    assert_eq!(found("mqtt://[::1]:1999"), Ok(("::1".to_owned(), 1999, false)));
    for wrong in
        ["broker.lan", "http://broker.lan", "mqtt://", "mqtt://a:b@broker.lan", "mqtt://broker.lan/x"]
    {
        assert!(found(wrong).is_err(), "{wrong}");
    }
}
