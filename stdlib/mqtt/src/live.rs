//! Brokers over the network, through the crate `rumqttc`.

#![allow(clippy::disallowed_methods)] // the adapter: it reads the files that a broker's description names

use std::time::Duration;

use futures_util::stream;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, NetworkOptions, Outgoing,
    Packet, QoS, SubscribeReasonCode, TlsConfiguration, Transport,
};

use crate::port::{
    Broker, Deliveries, Delivery, Fault, Message, MqttPort, Publishing, Quality, Stage, Subscription,
};
use crate::{CONNECT_SECONDS_MAX, KEEP_ALIVE_SECONDS, PACKET_BYTES_MAX};

/// Requests that wait for the connection: confirmations of what was heard.
const REQUESTS_MAX: usize = 64;
/// The longest password in a file, in bytes (section 3.1.3.5 of the standard).
const PASSWORD_BYTES_MAX: usize = 65_535;

/// The adapter that uses the network.
#[derive(Clone, Copy, Debug, Default)]
pub struct LiveMqtt;

fn quality(quality: Quality) -> QoS {
    match quality {
        Quality::AtMostOnce => QoS::AtMostOnce,
        Quality::AtLeastOnce => QoS::AtLeastOnce,
        Quality::ExactlyOnce => QoS::ExactlyOnce,
    }
}

fn connection(broker: &Broker, client: &str) -> Result<(MqttOptions, NetworkOptions), Fault> {
    let setup = |what: &std::path::Path, error: std::io::Error| {
        Fault::new(Stage::Setup, format!("{} cannot be read: {error}", what.display()))
    };
    let mut options = MqttOptions::new(client, &broker.host, broker.port);
    options.set_keep_alive(Duration::from_secs(KEEP_ALIVE_SECONDS));
    options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
    if broker.tls {
        options.set_transport(match &broker.ca {
            None => Transport::tls_with_default_config(),
            Some(ca) => {
                let ca = std::fs::read(ca).map_err(|error| setup(ca, error))?;
                Transport::Tls(TlsConfiguration::Simple { ca, alpn: None, client_auth: None })
            }
        });
    }
    if let Some(user) = &broker.user {
        let password = match &broker.password_file {
            None => broker.password.clone().unwrap_or_default(),
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|error| setup(file, error))?;
                if text.len() > PASSWORD_BYTES_MAX {
                    return Err(Fault::new(Stage::Setup, format!("{} is no password", file.display())));
                }
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
        };
        options.set_credentials(user, password);
    }
    let mut network = NetworkOptions::new();
    network.set_connection_timeout(CONNECT_SECONDS_MAX);
    Ok((options, network))
}

/// What a failure means; `connected` says whether the broker had taken the connection before.
fn fault(error: &ConnectionError, connected: bool) -> Fault {
    let stage = match error {
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized,
        ) => Stage::Denied,
        _ if connected => Stage::Lost,
        _ => Stage::Connect,
    };
    let text = match error {
        ConnectionError::ConnectionRefused(ConnectReturnCode::BadUserNamePassword) => {
            "the user or the password is wrong".to_owned()
        }
        ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized) => {
            "it does not want this user".to_owned()
        }
        ConnectionError::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    Fault::new(stage, text)
}

impl MqttPort for LiveMqtt {
    fn publish(&self, broker: Broker, client: String, message: Message) -> Publishing<'_> {
        Box::pin(async move {
            let (mut options, network) = connection(&broker, &client)?;
            options.set_clean_session(true);
            let (client, mut events) = AsyncClient::new(options, REQUESTS_MAX);
            events.set_network_options(network);
            let wanted = message.quality;
            let mut connected = false;
            loop {
                let event = events.poll().await.map_err(|error| fault(&error, connected))?;
                match event {
                    Event::Incoming(Packet::ConnAck(_)) => {
                        connected = true;
                        let Message { topic, payload, retain, .. } = &message;
                        client
                            .try_publish(topic, quality(wanted), *retain, payload.to_vec())
                            .map_err(|error| Fault::new(Stage::Lost, error.to_string()))?;
                    }
                    Event::Outgoing(Outgoing::Publish(_)) if wanted == Quality::AtMostOnce => break,
                    Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => break,
                    _ => {}
                }
            }
            // It is done; an end without a goodbye would have the broker publish a last will, of which there is none.
            let _ = client.try_disconnect();
            while !matches!(events.poll().await, Err(_) | Ok(Event::Outgoing(Outgoing::Disconnect))) {}
            Ok(())
        })
    }

    fn subscribe(&self, broker: Broker, subscription: Subscription) -> Deliveries {
        let listening = Listening::new(&broker, subscription);
        Box::pin(stream::unfold(Some(listening), |listening| async move {
            let mut listening = match listening? {
                Ok(listening) => listening,
                Err(fault) => return Some((Err(fault), None)),
            };
            let heard = listening.next().await;
            // After a fault the stream is at its end.
            let rest = heard.is_ok().then_some(Ok(listening));
            Some((heard, rest))
        }))
    }
}

struct Listening {
    client: AsyncClient,
    events: EventLoop,
    subscription: Subscription,
    connected: bool,
}

impl Listening {
    fn new(broker: &Broker, subscription: Subscription) -> Result<Self, Fault> {
        let (mut options, network) = connection(broker, &subscription.client)?;
        options.set_clean_session(false);
        options.set_manual_acks(true);
        let (client, mut events) = AsyncClient::new(options, REQUESTS_MAX);
        events.set_network_options(network);
        Ok(Self { client, events, subscription, connected: false })
    }

    async fn next(&mut self) -> Result<Delivery, Fault> {
        loop {
            let event = self.events.poll().await.map_err(|error| fault(&error, self.connected))?;
            match event {
                Event::Incoming(Packet::ConnAck(_)) => {
                    self.connected = true;
                    // Also where the broker knows the client: it may have lost what it wanted to hear.
                    let Subscription { filter, quality: wanted, .. } = &self.subscription;
                    self.client
                        .try_subscribe(filter, quality(*wanted))
                        .map_err(|error| Fault::new(Stage::Lost, error.to_string()))?;
                }
                Event::Incoming(Packet::SubAck(answer))
                    if answer.return_codes.contains(&SubscribeReasonCode::Failure) =>
                {
                    let text = format!("it does not let this user hear `{}`", self.subscription.filter);
                    return Err(Fault::new(Stage::Denied, text));
                }
                Event::Incoming(Packet::Publish(publish)) => {
                    let message = Message {
                        topic: publish.topic.clone(),
                        payload: publish.payload.clone(),
                        quality: match publish.qos {
                            QoS::AtMostOnce => Quality::AtMostOnce,
                            QoS::AtLeastOnce => Quality::AtLeastOnce,
                            QoS::ExactlyOnce => Quality::ExactlyOnce,
                        },
                        retain: publish.retain,
                    };
                    let client = self.client.clone();
                    // Where there is no room for the confirmation, the broker sends the message again.
                    let confirm = Box::new(move || drop(client.try_ack(&publish)));
                    return Ok(Delivery { message, confirm });
                }
                _ => {}
            }
        }
    }
}
