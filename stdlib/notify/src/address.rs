//! Addresses of channels, in the URL forms of Apprise, and the service that each of them names.
//!
//! They are read here and not by a library for web addresses: `tgram://123:abc/chat` has no port `abc`. The parts are those
//! of <https://github.com/caronc/apprise/wiki>, for the services that hob speaks.

use std::collections::BTreeMap;

use hob_model::OpError;
use percent_encoding::percent_decode_str;
use url::Url;
use zeroize::Zeroizing;

use crate::port::{MailServer, Security};

/// The longest address.
const ADDRESS_BYTES_MAX: usize = 8 << 10;

/// The most people that a channel writes mail to.
const RECIPIENTS_MAX: usize = 50;

/// What an address and the options beside it say.
pub(crate) struct Parts {
    scheme: String,
    user: Option<String>,
    password: Option<String>,
    host: String,
    port: Option<u16>,
    /// The parts of the path, decoded, without empty ones.
    path: Vec<String>,
    query: BTreeMap<String, String>,
    /// The address as it stood, for those that are web addresses themselves.
    whole: Zeroizing<String>,
}

/// How hob names itself to a web server.
#[derive(Clone)]
pub(crate) enum Login {
    None,
    Basic(String, Zeroizing<String>),
    Bearer(Zeroizing<String>),
}

/// Where messages go.
pub(crate) enum Service {
    Ntfy {
        base: Url,
        topic: String,
        login: Login,
    },
    Gotify {
        base: Url,
        token: Zeroizing<String>,
    },
    Webhook {
        url: Url,
        login: Login,
    },
    /// Slack, and Mattermost, which takes the same.
    Slack {
        url: Url,
        channel: Option<String>,
        mattermost: bool,
    },
    Discord {
        url: Url,
    },
    Telegram {
        base: Url,
        token: Zeroizing<String>,
        chat: String,
    },
    Mail {
        server: MailServer,
        from: String,
        to: Vec<String>,
    },
}

/// What the options of a channel say in place of its address.
#[derive(Default)]
pub(crate) struct Beside {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Zeroizing<String>>,
    pub(crate) token: Option<Zeroizing<String>>,
    pub(crate) server: Option<String>,
    pub(crate) insecure: bool,
    pub(crate) ca: Option<std::path::PathBuf>,
}

/// The schemes, for messages.
const SCHEMES: &str = "ntfy, ntfys, gotify, gotifys, mailto, mailtos, slack, mmost, mmosts, discord, tgram, json, jsons, \
                       http and https";

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// A mistake in an address; the address itself may hold a secret, and is not repeated.
fn wrong(what: impl std::fmt::Display, form: &str) -> OpError {
    OpError::invalid(format!("the address of a channel: {what}")).hint(format!("write `{form}`"))
}

impl Parts {
    pub(crate) fn read(text: &str) -> Result<Self, OpError> {
        let form = "ntfys://ntfy.example.net/house";
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(wrong(format_args!("it has more than {ADDRESS_BYTES_MAX} bytes"), form));
        }
        if text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(wrong("it has a blank or a control character", form));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("it has no scheme", form))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, place) = authority.rsplit_once('@').map_or((None, authority), |(l, p)| (Some(l), p));
        let (user, password) = match login.map(|login| login.split_once(':').ok_or(login)) {
            None => (None, None),
            Some(Ok((user, password))) => (Some(decoded(user)), Some(decoded(password))),
            Some(Err(user)) => (Some(decoded(user)), None),
        };
        // An address in brackets has colons of its own (RFC 3986, section 3.2.2).
        let (host, port) = match place.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => match port.parse() {
                Ok(port) => (host.to_owned(), Some(port)),
                Err(_) => (place.to_owned(), None),
            },
            None => (place.to_owned(), None),
        };
        let query = url::form_urlencoded::parse(query.as_bytes());
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            user,
            password,
            host: decoded(&host),
            port,
            path: path.split('/').filter(|part| !part.is_empty()).map(decoded).collect(),
            query: query.map(|(key, value)| (key.to_lowercase(), value.into_owned())).collect(),
            whole: Zeroizing::new(text.to_owned()),
        })
    }

    /// What a query parameter says.
    pub(crate) fn query(&self, key: &str) -> Option<&str> {
        self.query.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A web address of the host that is named, with these parts of a path.
    fn web(&self, tls: bool, path: &[&str]) -> Result<Url, OpError> {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        base(&format!("{}://{}{port}", if tls { "https" } else { "http" }, self.host), path)
    }

    fn login(&self, beside: &Beside) -> Login {
        let user = beside.user.clone().or_else(|| self.user.clone());
        let password = beside.password.clone().or_else(|| self.password.clone().map(Zeroizing::new));
        match (&beside.token, user) {
            (Some(token), _) => Login::Bearer(token.clone()),
            // As Apprise has it: a user name alone that is one of ntfy's tokens.
            (None, Some(user)) if password.is_none() && user.starts_with("tk_") => {
                Login::Bearer(Zeroizing::new(user))
            }
            (None, Some(user)) => Login::Basic(user, password.unwrap_or_default()),
            (None, None) => Login::None,
        }
    }

    /// The service, with what the options say in place of the address.
    pub(crate) fn service(&self, beside: &Beside) -> Result<Service, OpError> {
        let tls = self.scheme.ends_with('s');
        match self.scheme.as_str() {
            "ntfy" | "ntfys" => self.ntfy(tls, beside),
            "gotify" | "gotifys" => self.gotify(tls, beside),
            "mmost" | "mmosts" => self.mattermost(tls, beside),
            "slack" => self.slack(beside),
            "discord" => self.discord(beside),
            "tgram" => self.telegram(beside),
            "mailto" | "mailtos" => self.mail(tls, beside),
            "json" | "jsons" => {
                let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
                let mut url = self.web(tls, &path)?;
                if !self.query.is_empty() {
                    url.query_pairs_mut().extend_pairs(&self.query);
                }
                Ok(Service::Webhook { url, login: self.login(beside) })
            }
            "http" | "https" => self.webhook(beside),
            other => {
                let known = format!("`{}` is none of {SCHEMES}", other.escape_debug());
                Err(wrong(known, "ntfys://ntfy.example.net/house"))
            }
        }
    }

    fn ntfy(&self, tls: bool, beside: &Beside) -> Result<Service, OpError> {
        let form = "ntfys://ntfy.example.net/TOPIC";
        let login = self.login(beside);
        let (place, topic) = match (self.path.as_slice(), self.host.as_str()) {
            ([], topic) => ("https://ntfy.sh".to_owned(), topic),
            ([topic], _) => (self.web(tls, &[])?.to_string(), topic.as_str()),
            _ => return Err(wrong("one message goes to one topic", form)),
        };
        let is_topic = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if topic.is_empty() || topic.len() > 64 || !topic.chars().all(is_topic) {
            return Err(wrong("a topic of ntfy has up to 64 letters, digits, `-` and `_`", form));
        }
        let base = base(beside.server.as_deref().unwrap_or(&place), &[])?;
        Ok(Service::Ntfy { base, topic: topic.to_owned(), login })
    }

    fn gotify(&self, tls: bool, beside: &Beside) -> Result<Service, OpError> {
        let form = "gotifys://gotify.example.net/TOKEN";
        let mut path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let token = match &beside.token {
            Some(token) => token.clone(),
            None => Zeroizing::new(path.pop().ok_or_else(|| wrong("it names no token", form))?.to_owned()),
        };
        let base = match &beside.server {
            Some(server) => base(server, &path)?,
            None => self.web(tls, &path)?,
        };
        Ok(Service::Gotify { base, token })
    }

    fn mattermost(&self, tls: bool, beside: &Beside) -> Result<Service, OpError> {
        let form = "mmosts://chat.example.net/TOKEN";
        let mut path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let token = match &beside.token {
            Some(token) => token.as_str(),
            None => path.pop().ok_or_else(|| wrong("it names no token", form))?,
        };
        path.extend(["hooks", token]);
        let url = match &beside.server {
            Some(server) => base(server, &path)?,
            None => self.web(tls, &path)?,
        };
        Ok(Service::Slack { url, channel: self.query("channel").map(str::to_owned), mattermost: true })
    }

    fn slack(&self, beside: &Beside) -> Result<Service, OpError> {
        let form = "slack://TOKEN_A/TOKEN_B/TOKEN_C";
        let [b, c, rest @ ..] = self.path.as_slice() else {
            return Err(wrong("a webhook of Slack has three tokens", form));
        };
        let server = beside.server.as_deref().unwrap_or("https://hooks.slack.com");
        let url = base(server, &["services", &self.host, b, c])?;
        let channel = rest.first().filter(|name| name.starts_with(['#', '@'])).cloned();
        Ok(Service::Slack { url, channel, mattermost: false })
    }

    fn discord(&self, beside: &Beside) -> Result<Service, OpError> {
        let form = "discord://WEBHOOK_ID/WEBHOOK_TOKEN";
        let [token] = self.path.as_slice() else {
            return Err(wrong("a webhook of Discord has an id and a token", form));
        };
        let server = beside.server.as_deref().unwrap_or("https://discord.com");
        Ok(Service::Discord { url: base(server, &["api", "webhooks", &self.host, token])? })
    }

    fn telegram(&self, beside: &Beside) -> Result<Service, OpError> {
        let form = "tgram://123456789:BOT_TOKEN/CHAT";
        let bot = match (&self.port, &beside.token) {
            (_, Some(token)) => token.to_string(),
            (Some(port), None) => format!("{}:{port}", self.host),
            (None, None) => self.host.clone(),
        };
        let is_bot = |c: char| c.is_ascii_alphanumeric() || ":-_".contains(c);
        if bot.is_empty() || !bot.chars().all(is_bot) {
            return Err(wrong("this is no token of a bot", form));
        }
        let chats: Vec<&String> = match &beside.token {
            Some(_) if !self.host.is_empty() && self.path.is_empty() => vec![&self.host],
            _ => self.path.iter().collect(),
        };
        let [chat] = chats.as_slice() else {
            return Err(wrong("one message goes to one chat; declare a channel for each", form));
        };
        let base = base(beside.server.as_deref().unwrap_or("https://api.telegram.org"), &[])?;
        Ok(Service::Telegram { base, token: Zeroizing::new(bot), chat: (*chat).clone() })
    }

    fn webhook(&self, beside: &Beside) -> Result<Service, OpError> {
        let mut url = Url::parse(&self.whole).map_err(|error| wrong(error, "https://example.net/hook"))?;
        // The addresses that these services hand out themselves.
        match (url.host_str().unwrap_or_default(), url.path()) {
            ("hooks.slack.com", _) => return Ok(Service::Slack { url, channel: None, mattermost: false }),
            ("discord.com" | "discordapp.com", path) if path.starts_with("/api/webhooks/") => {
                return Ok(Service::Discord { url });
            }
            _ => {}
        }
        let login = self.login(beside);
        // Neither fails for http and https, which have a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        Ok(Service::Webhook { url, login })
    }

    fn mail(&self, tls: bool, beside: &Beside) -> Result<Service, OpError> {
        let form = "mailtos://USER:PASSWORD@smtp.example.net?to=you@example.net";
        let user = beside.user.clone().or_else(|| self.user.clone());
        let password = beside.password.clone().or_else(|| self.password.clone().map(Zeroizing::new));
        let security = match (tls, self.query("mode")) {
            (_, Some("ssl")) => Security::Tls,
            (_, Some("starttls")) | (true, None) if self.port != Some(465) => Security::StartTls,
            (_, Some("starttls")) | (true, None) => Security::Tls,
            (_, Some("insecure")) | (false, None) => Security::Plain,
            (_, Some(other)) => {
                let problem =
                    format!("`mode={}` is none of ssl, starttls and insecure", other.escape_debug());
                return Err(wrong(problem, form));
            }
        };
        let usual = match security {
            Security::Plain => 25,
            Security::StartTls => 587,
            Security::Tls => 465,
        };
        // `smtp=` is the server where the host is that of the addresses.
        let host = beside.server.as_deref().or_else(|| self.query("smtp")).unwrap_or(&self.host).to_owned();
        let own = user.as_ref().map(|user| match user.contains('@') {
            true => user.clone(),
            false => format!("{user}@{}", self.host),
        });
        let from = self.query("from").map(str::to_owned).or_else(|| own.clone());
        let from = from.ok_or_else(|| wrong("it says neither who it is from nor a user", form))?;
        let given = self.query("to").map(|to| to.split(',').map(|it| it.trim().to_owned()).collect());
        let to: Vec<String> = given.unwrap_or_else(|| vec![from.clone()]);
        for address in to.iter().chain([&from]) {
            address.parse::<lettre::message::Mailbox>().map_err(|_| {
                wrong(format_args!("`{}` is no address for mail", address.escape_debug()), form)
            })?;
        }
        if host.is_empty() || to.len() > RECIPIENTS_MAX {
            return Err(wrong(format_args!("it names a server and up to {RECIPIENTS_MAX} people"), form));
        }
        let credentials = match (user, password) {
            (Some(user), Some(password)) => Some((user, password)),
            _ => None,
        };
        if credentials.is_some() && security == Security::Plain && !is_local(&host) {
            return Err(wrong("a password would go over the network in the clear", form)
                .hint("use mailtos://, which asks for TLS"));
        }
        let (port, insecure, ca) = (self.port.unwrap_or(usual), beside.insecure, beside.ca.clone());
        let server = MailServer { host, port, security, credentials, insecure, ca };
        Ok(Service::Mail { server, from, to })
    }
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A web address with these parts behind its path.
fn base(server: &str, path: &[&str]) -> Result<Url, OpError> {
    let form = "https://ntfy.example.net";
    let mut url = Url::parse(server).map_err(|error| wrong(error, form))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("a server is a web address", form));
    }
    if let Ok(mut parts) = url.path_segments_mut() {
        parts.pop_if_empty().extend(path);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn login(login: &Login) -> String {
        match login {
            Login::None => String::new(),
            Login::Basic(user, password) => format!(" as {user}:{}", &**password),
            Login::Bearer(token) => format!(" with {}", &**token),
        }
    }

    fn shown(address: &str, beside: &Beside) -> String {
        let service = Parts::read(address).and_then(|parts| parts.service(beside));
        match service {
            Err(error) => format!("error: {}", error.message),
            Ok(Service::Ntfy { base, topic, login: it }) => format!("ntfy {base} {topic}{}", login(&it)),
            Ok(Service::Gotify { base, token }) => format!("gotify {base} {}", &**token),
            Ok(Service::Webhook { url, login: it }) => format!("webhook {url}{}", login(&it)),
            Ok(Service::Slack { url, channel, mattermost }) => {
                format!("slack {url} {} {mattermost}", channel.unwrap_or_default())
            }
            Ok(Service::Discord { url }) => format!("discord {url}"),
            Ok(Service::Telegram { base, token, chat }) => format!("telegram {base} {} {chat}", &**token),
            Ok(Service::Mail { server, from, to }) => {
                let user = server.credentials.map(|(user, password)| format!("{user}:{}", &*password));
                let (host, port, security) = (server.host, server.port, server.security);
                let user = user.unwrap_or_default();
                format!("mail {host}:{port} {security:?} {user} {from} -> {}", to.join(" "))
            }
        }
    }

    #[test]
    fn the_forms_of_apprise() {
        let table = [
            ("ntfy://house", "ntfy https://ntfy.sh/ house"),
            ("ntfy://ntfy.lan:8080/house", "ntfy http://ntfy.lan:8080/ house"),
            ("ntfys://ada:p%40ss@ntfy.lan/house", "ntfy https://ntfy.lan/ house as ada:p@ss"),
            ("ntfys://tk_abc@ntfy.lan/house", "ntfy https://ntfy.lan/ house with tk_abc"),
            ("ntfy://[::1]:8080/house", "ntfy http://[::1]:8080/ house"),
            ("gotify://g.lan/T0ken", "gotify http://g.lan/ T0ken"),
            ("gotifys://g.lan:444/sub/T0ken", "gotify https://g.lan:444/sub T0ken"),
            ("mmosts://chat.lan/hook1?channel=ops", "slack https://chat.lan/hooks/hook1 ops true"),
            ("mmost://chat.lan:8065/sub/hook1", "slack http://chat.lan:8065/sub/hooks/hook1  true"),
            ("slack://T1/B2/C3", "slack https://hooks.slack.com/services/T1/B2/C3  false"),
            ("slack://T1/B2/C3/%23ops", "slack https://hooks.slack.com/services/T1/B2/C3 #ops false"),
            ("https://hooks.slack.com/services/a/b/c", "slack https://hooks.slack.com/services/a/b/c  false"),
            ("discord://12/tok-en", "discord https://discord.com/api/webhooks/12/tok-en"),
            ("https://discord.com/api/webhooks/1/x", "discord https://discord.com/api/webhooks/1/x"),
            ("tgram://123456:ABC-d_e/-100", "telegram https://api.telegram.org/ 123456:ABC-d_e -100"),
            ("tgram://123456:789/42", "telegram https://api.telegram.org/ 123456:789 42"),
            ("json://h.lan:81/a/b?x=1", "webhook http://h.lan:81/a/b?x=1"),
            ("jsons://u:p@h.lan", "webhook https://h.lan/ as u:p"),
            ("https://u:p@h.lan/a?b=c", "webhook https://h.lan/a?b=c as u:p"),
            ("mailtos://ada:pw@mail.lan", "mail mail.lan:587 StartTls ada:pw ada@mail.lan -> ada@mail.lan"),
            ("mailtos://ada:pw@mail.lan:465", "mail mail.lan:465 Tls ada:pw ada@mail.lan -> ada@mail.lan"),
            (
                "mailtos://ada:pw@lan.example?smtp=mx.lan.example&mode=ssl&to=b@c.example,d@e.example&from=hob@c.example",
                "mail mx.lan.example:465 Tls ada:pw hob@c.example -> b@c.example d@e.example",
            ),
            (
                "mailto://localhost?from=hob@a.example&to=b@c.example",
                "mail localhost:25 Plain  hob@a.example -> b@c.example",
            ),
        ];
        for (address, wanted) in table {
            assert_eq!(shown(address, &Beside::default()), wanted, "{address}");
        }
    }

    #[test]
    fn options_stand_in_for_parts_of_the_address() {
        let secret = |text: &str| Some(Zeroizing::new(text.to_owned()));
        let token = Beside { token: secret("t0k"), ..Beside::default() };
        assert_eq!(shown("ntfys://n.lan/house", &token), "ntfy https://n.lan/ house with t0k");
        assert_eq!(shown("gotifys://g.lan", &token), "gotify https://g.lan/ t0k");
        assert_eq!(shown("tgram://-100", &token), "telegram https://api.telegram.org/ t0k -100");
        let server = Beside { server: Some("http://127.0.0.1:9".to_owned()), ..Beside::default() };
        assert_eq!(shown("discord://1/x", &server), "discord http://127.0.0.1:9/api/webhooks/1/x");
        let password = Beside { password: secret("p@:/"), ..Beside::default() };
        let mail = "mail m.lan:587 StartTls ada:p@:/ ada@m.lan -> ada@m.lan";
        assert_eq!(shown("mailtos://ada@m.lan", &password), mail);
    }

    #[test]
    fn mistakes_are_named_and_secrets_are_not() {
        for (address, part) in [
            ("nonsense", "no scheme"),
            ("pager://x", "is none of"),
            ("ntfy://h/a/b", "one topic"),
            ("ntfy://h/a%20b", "a topic of ntfy"),
            ("gotify://h", "no token"),
            ("slack://a/b", "three tokens"),
            ("discord://a", "an id and a token"),
            ("tgram://1:hunter2/1/2", "one chat"),
            ("mailto://ada:hunter2@mail.lan", "in the clear"),
            ("mailtos://mail.lan", "who it is from"),
            ("mailtos://ada:hunter2@mail.lan?to=nobody", "is no address"),
            ("http://", "the address"),
        ] {
            let error = Parts::read(address).and_then(|parts| parts.service(&Beside::default()).map(drop));
            let message = error.unwrap_err().message;
            assert!(message.contains(part) && !message.contains("hunter2"), "{address}: {message}");
        }
    }

    proptest! {
        #[test]
        fn no_address_makes_it_panic(text in "(ntfys?|gotifys?|tgram|slack|mmosts?|discord|mailtos?|jsons?|https?)://[ -~]{0,60}") {
            let _ = Parts::read(&text).and_then(|parts| parts.service(&Beside::default()).map(drop));
        }
    }
}
