//! Membership: a configuration travels as the one command of a batch of its own.

use crate::journal::{Batch, Builder};
use crate::replica::Config;
use crate::state::{Command, Envelope, RealmId};

/// Kind of a configuration command, in the core realm.
pub const CONFIG_KIND: u8 = 1;

/// A batch body with this configuration.
pub fn config_batch(config: &Config) -> Builder {
    let mut payload = Vec::new();
    config.encode(&mut payload);
    let mut command = Vec::new();
    let envelope = Envelope { realm: RealmId::Core as u8, kind: CONFIG_KIND, ..Envelope::default() };
    envelope.write(&payload, &mut command);
    let mut builder = Builder::default();
    builder.push(&command, 1);
    builder
}

/// The configuration in a batch that is flagged to hold one. A leader wrote it: anything else is our own bug.
pub fn config_of(batch: &Batch) -> Config {
    let command = Command::all(batch.body()).next().expect("a configuration batch holds a command");
    assert_eq!((command.envelope.realm, command.envelope.kind), (RealmId::Core as u8, CONFIG_KIND));
    Config::decode(&mut &command.payload[..]).expect("a leader encodes its configuration well")
}
