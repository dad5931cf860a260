//! The options of `hob secrets`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use hob_std_secrets::sops::Format;

/// `hob secrets …`
#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Verify a file and print what it holds
    Decrypt {
        /// An age or SOPS file
        file: PathBuf,
        /// How the result is printed
        #[arg(long, value_name = "FORMAT", default_value = "source")]
        format: Output,
        /// Write it to this file, which its owner alone may read
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// What the file is.
        #[command(flatten)]
        kind: KindArgs,
        /// With which keys.
        #[command(flatten)]
        keys: KeyArgs,
    },
    /// Encrypt a file: for SOPS by the rules of .sops.yaml, for age by those of secrets.nix
    Encrypt {
        /// A plain file
        file: PathBuf,
        /// Replace the file
        #[arg(short, long, conflicts_with = "output")]
        in_place: bool,
        /// Write to this file [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Write an age file as text
        #[arg(short, long)]
        armor: bool,
        /// Encrypt an age file with a passphrase
        #[arg(short, long, conflicts_with_all = ["recipient", "recipients_file"])]
        passphrase: bool,
        /// What is written.
        #[command(flatten)]
        kind: KindArgs,
        /// For whom.
        #[command(flatten)]
        recipients: RecipientArgs,
        /// Where a passphrase comes from.
        #[command(flatten)]
        passphrases: PassphraseArgs,
    },
    /// Edit a file with $EDITOR; what does not change keeps its encrypted form
    Edit {
        /// An age or SOPS file, or one to be made by the rules
        file: PathBuf,
        /// What the file is.
        #[command(flatten)]
        kind: KindArgs,
        /// For whom, where no rules say so.
        #[command(flatten)]
        recipients: RecipientArgs,
        /// With which keys.
        #[command(flatten)]
        keys: KeyArgs,
    },
    /// Encrypt files for those whom the rules name now; who is no longer named loses access to what is written from then on
    Rekey {
        /// Age or SOPS files, or a secrets.nix for all that it names
        #[arg(required = true)]
        file: Vec<PathBuf>,
        /// Give SOPS files a new data key in any case
        #[arg(long)]
        rotate: bool,
        /// What the files are.
        #[command(flatten)]
        kind: KindArgs,
        /// For whom, instead of what the rules say.
        #[command(flatten)]
        recipients: RecipientArgs,
        /// With which keys.
        #[command(flatten)]
        keys: KeyArgs,
    },
    /// Find what is questionable: values in plain, recipients that differ from the rules or that nobody needs, files that cannot be opened here
    Lint {
        /// Age or SOPS files, a .sops.yaml, or a secrets.nix for all that it names [default: the secrets of the homelab, and its scripts]
        file: Vec<PathBuf>,
        /// Which homelab.
        #[command(flatten)]
        homelab: HomelabArgs,
        /// What the files are.
        #[command(flatten)]
        kind: KindArgs,
        /// With which keys.
        #[command(flatten)]
        keys: KeyArgs,
    },
    /// List the secrets of a homelab: names, versions, files and the services that use them, never values
    List {
        /// Which homelab.
        #[command(flatten)]
        homelab: HomelabArgs,
    },
    /// Give a secret a new value, and have the services that use it take it, each ready before the next
    ///
    /// The old value is kept until all have switched. What was interrupted goes on when the command is given again.
    Rotate(RotateArgs),
    /// Make a new private key; its recipient is said beside it
    Keygen {
        /// Write it to this file, which its owner alone may read; it must not be there yet [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print the recipients of private keys or SSH public keys: what files are encrypted for
    ///
    /// An SSH Ed25519 key has two: the age recipient that it converts to, as hosts of NixOS use it, and itself.
    Recipient {
        /// Files with age identities, SSH private keys or SSH public keys; `-` for standard input
        #[arg(required = true)]
        file: Vec<PathBuf>,
        /// Where a passphrase comes from.
        #[command(flatten)]
        passphrases: PassphraseArgs,
    },
}

/// Which homelab's secrets.
#[derive(Clone, Debug, Args)]
pub(crate) struct HomelabArgs {
    /// The homelab whose secrets are meant: its directory or file; a directory without one works too
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub homelab: PathBuf,
}

/// `hob secrets rotate`
#[derive(Clone, Debug, Args)]
pub(crate) struct RotateArgs {
    /// The name of the secret
    pub name: String,
    /// How many letters and digits the new value has
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub length: usize,
    /// Take the new value from this file, `/dev/stdin` for standard input, instead of making one
    #[arg(long, value_name = "FILE")]
    pub value_file: Option<PathBuf>,
    /// Go back to the old value of a rotation that is under way
    #[arg(long)]
    pub undo: bool,
    /// Which homelab.
    #[command(flatten)]
    pub homelab: HomelabArgs,
    /// For whom an age file is, where no rules say so.
    #[command(flatten)]
    pub recipients: RecipientArgs,
    /// With which keys.
    #[command(flatten)]
    pub keys: KeyArgs,
}

/// How a decrypted file is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// As it was before it was encrypted.
    Source,
    /// As JSON.
    Json,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// An age file.
    Age,
    /// SOPS in YAML.
    Yaml,
    /// SOPS in JSON.
    Json,
    /// SOPS of environment variables.
    Dotenv,
    /// SOPS in INI.
    Ini,
    /// SOPS of anything.
    Binary,
}

impl Kind {
    /// The SOPS format; an age file has none.
    pub(super) fn format(self) -> Option<Format> {
        match self {
            Self::Age => None,
            Self::Yaml => Some(Format::Yaml),
            Self::Json => Some(Format::Json),
            Self::Dotenv => Some(Format::Dotenv),
            Self::Ini => Some(Format::Ini),
            Self::Binary => Some(Format::Binary),
        }
    }
}

/// What a file is, where its name does not say so.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct KindArgs {
    /// What the file is [default: by its content and name]
    #[arg(long = "as", value_name = "KIND")]
    pub kind: Option<Kind>,
}

/// Whom to encrypt for.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RecipientArgs {
    /// Encrypt for this public key: age1…, ssh-ed25519 …, ssh-rsa … (may be repeated)
    #[arg(short, long, value_name = "KEY")]
    pub recipient: Vec<String>,
    /// Encrypt for the public keys in this file, one a line (may be repeated)
    #[arg(short = 'R', long, value_name = "FILE")]
    pub recipients_file: Vec<PathBuf>,
}

/// Where a passphrase comes from.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PassphraseArgs {
    /// Read the passphrase from the first line of this file [default: ask at the terminal]
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// Which private keys to use.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct KeyArgs {
    /// A file with age identities or an SSH private key (may be repeated) [default: the usual places]
    #[arg(short = 'k', long, value_name = "KEY")]
    pub identity: Vec<PathBuf>,
    /// Where a passphrase comes from.
    #[command(flatten)]
    pub passphrases: PassphraseArgs,
}
