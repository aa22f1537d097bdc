//! Japanese: failures, and what to do about them. docs/developer/japanese.md has the rules.

mod help;
mod lines;
mod support;
mod warnings;

use els_host::failure::{Failure as Host, Stage};
use els_host::messages::ja as host;
use els_protocol::{Code, KeyError, LabelError, OddCharacter, RegistrationId};

use crate::cli::{Action, UsageError};
use crate::failure::{Damage, Failure, GpgKeyFault, KeyFault, LabelFault, RepositoryFault, Seat};
use crate::file_state::FileState;

pub(crate) use help::{MEANINGS, command};
pub(crate) use lines::{line, progress};
pub(crate) use support::support;
pub(crate) use warnings::warning;

/// What failed, on what, and why.
pub(crate) fn failure(failure: &Failure) -> String {
    match failure {
        Failure::Host(failure) => host::failure(failure),
        Failure::Usage(error) => usage(error),
        Failure::NotRoot { action } => format!("--{}はrootで実行してください", action.name()),
        Failure::Locked { path } => {
            format!("別のels-registerが「{path}」を使用中です。時間内に終わりませんでした")
        }
        Failure::NotRegistered => "このマシンは登録されていません".to_owned(),
        Failure::Copied { original } => {
            format!("登録{}は、\nこのマシンではなく別のマシンで行われたものです", id(original.as_ref()))
        }
        Failure::Damaged(damage) => damaged(damage),
        Failure::NewerFile { path, version, known } => {
            format!("「{path}」のバージョンは{version}です\nこのels-registerが扱えるのはバージョン{known}です")
        }
        Failure::RepoFileNotShipped { name } => {
            format!("製品に必要なリポジトリファイル{name}が、\nels-register {VERSION}に含まれていません")
        }
        Failure::RepoFileUnusable { name } => format!("同梱の{name}.repoに、使える[els-updates]がありません"),
        Failure::RepositoryUrl { server, url, why } => {
            format!("「{server}」が示したリポジトリのURL（{url}）は使えません:\n{}", host::url_error(*why))
        }
        Failure::Repository { url, fault } => match fault {
            RepositoryFault::Request { why } => host::lines(&format!("「{url}」への要求を作成できません:"), why),
            RepositoryFault::NotRepomd => {
                host::lines(&format!("「{url}」はリポジトリではありません:"), "応答がrepomdではありません")
            }
            RepositoryFault::Redirects { to } => {
                format!(
                    "リポジトリが別のURLにリダイレクトします:\n{url}\n{to:?}\nリダイレクト先では、dnfは認証情報を送りません"
                )
            }
            RepositoryFault::Status(401) => {
                format!("リポジトリが認証情報を受け付けません（401）:\n{url}")
            }
            RepositoryFault::Status(403) => format!("リポジトリがこの登録では使えません（403）:\n{url}"),
            RepositoryFault::Status(404) => format!("リポジトリがありません（404）:\n{url}"),
            RepositoryFault::Status(status) => format!("リポジトリの応答はHTTP {status}です:\n{url}"),
        },
        Failure::SeatListLoops { server } => {
            format!("「{server}」のシートの一覧が、前のページに戻っています")
        }
        Failure::NoServer { .. } => "サーバーが設定されていません".to_owned(),
        Failure::NoKey => "ライセンスキーが指定されていません".to_owned(),
        Failure::Key { source, fault } => match fault {
            KeyFault::NotUtf8 => format!("{source}: キーがUTF-8のテキストではありません"),
            KeyFault::Wrong(error) => format!("{source}: {}", key(error)),
        },
        Failure::Label { source, fault } => match fault {
            LabelFault::NoHostName => format!("{source}: %H: このマシンにはホスト名がありません"),
            LabelFault::Wrong(error) => format!("{source}: {}", label(*error)),
        },
        Failure::GpgKey { config, path, fault } => format!(
            "{config}: gpg_key: {path}: {}",
            match fault {
                GpgKeyFault::Missing => "ファイルがありません",
                GpgKeyFault::Private => "秘密鍵が含まれています",
                GpgKeyFault::NotArmored => {
                    "ASCII形式の公開鍵がありません\n（-----BEGIN PGP PUBLIC KEY BLOCK-----）"
                }
            }
        ),
        Failure::ReleaseId => "--release: 登録IDではありません".to_owned(),
        Failure::NoTokenToRelease => {
            "このマシンのトークンが失われたか変更されているため、シートを解放できません".to_owned()
        }
        Failure::NotUnregistered { cause, .. } => self::failure(cause),
    }
}

/// What to do next.
pub(crate) fn hint(failure: &Failure) -> Option<String> {
    let text = match failure {
        Failure::Host(Host::Refused(refusal)) => refusal.known.and_then(denial_hint)?,
        Failure::Host(Host::CutOff { .. }) => AGAIN_NO_SECOND_SEAT,
        Failure::Host(Host::Unreachable(unreachable)) if unreachable.stage == Stage::Established => {
            AGAIN_NO_SECOND_SEAT
        }
        Failure::Host(failure) => return host::hint(failure),
        Failure::Usage(_) => "すべてのオプションは「els-register --help」で確認できます",
        Failure::NotRoot { .. } => "同じコマンドをsudoで実行してください",
        Failure::Locked { .. } => "終わるのを待ってから、同じコマンドをもう一度実行してください",
        Failure::NotRegistered => "「els-register --key KEY」で登録できます",
        Failure::Copied { .. } => COPY,
        Failure::Damaged(damage) => match damage {
            Damage::StateFile { .. } => "「els-register --refresh」（--offlineなし）で、認証情報から修復できます",
            Damage::Token => "「els-register --key KEY」で新しいトークンを作成できます\n使うシートは増えません",
            Damage::Variables => {
                "「els-register --refresh」（--offlineなし）で修復できます\n\
                 トークンが失われている場合は、「els-register --key KEY」を実行してください"
            }
            Damage::State | Damage::Files(_) | Damage::Unreadable(_) => {
                "「els-register --refresh」で修復できます\n\
                 トークンが失われている場合は、「els-register --key KEY」を実行してください"
            }
        },
        Failure::NewerFile { .. } => {
            "els-registerを更新してください\nこのマシンでは、より新しいels-registerが使われています"
        }
        Failure::RepoFileNotShipped { .. } => "els-registerを更新してから、同じコマンドをもう一度実行してください",
        Failure::RepoFileUnusable { .. } | Failure::SeatListLoops { .. } => return None,
        Failure::RepositoryUrl { .. } => "ベンダーによる修正が必要です（バックエンドの--repo-url）",
        Failure::Repository { fault: RepositoryFault::Request { .. }, .. } => return None,
        Failure::Repository { fault: RepositoryFault::NotRepomd, .. } => {
            "プロキシやポータルが代わりに応答していないことを確認してください"
        }
        Failure::Repository { .. } => {
            "しばらくしてから、同じコマンドをもう一度実行してください\n\
             解決しない場合は、サポートに連絡してください。原因はこのマシンにはありません"
        }
        Failure::NoServer { config } => {
            return Some(format!(
                "「{config}」に次の行を追加してください: server = \"https://HOST\"\nまたは、--server URLで指定してください"
            ));
        }
        Failure::NoKey => {
            "次のいずれかで指定してください: --key KEY、--key-file FILE、\n\
             環境変数ELS_LICENSE_KEY、systemdのクレデンシャルels.key"
        }
        Failure::Key { fault: KeyFault::Wrong(_), .. } => "受け取ったキーを、もう一度コピーしてください",
        Failure::Key { .. } | Failure::Label { .. } | Failure::GpgKey { .. } => return None,
        Failure::ReleaseId => "登録IDは「els-register --seats --key KEY」で確認できます",
        Failure::NoTokenToRelease => {
            "「els-register --key KEY」で新しいトークンを作成してから、\n\
             登録解除してください（使うシートは増えません）\nまたは、--unregister --forceを実行してください"
        }
        Failure::NotUnregistered { cause, seat: Seat::Held } => {
            let hint = hint(cause).map(|hint| format!("\n{hint}")).unwrap_or_default();
            return Some(format!("このマシンでは何も変更していません{hint}"));
        }
        Failure::NotUnregistered { seat: Seat::Unknown, .. } => {
            "シートが解放されたかどうかは不明です。リポジトリは無効のままです\n\
             もう一度--unregisterを実行すると完了します"
        }
    };
    Some(text.to_owned())
}

/// Whom to ask, from the configuration.
pub(crate) fn support_contact(contact: &str) -> String {
    format!("サポート: {contact}")
}

fn damaged(damage: &Damage) -> String {
    match damage {
        Damage::State => "このマシンの登録の状態ファイルが失われています".to_owned(),
        Damage::StateFile { path } => format!("「{path}」が失われています"),
        Damage::Token => "このマシンの登録のトークンが失われたか、変更されています".to_owned(),
        Damage::Variables => "/etc/dnf/varsの認証情報が不完全なため、リポジトリは無効のままです".to_owned(),
        Damage::Files(files) => {
            let state = |state: &FileState| match state {
                FileState::Missing => "がありません",
                _ => "が変更されています",
            };
            let files: Vec<String> = files.iter().map(|(path, found)| format!("「{path}」{}", state(found))).collect();
            files.join("\n")
        }
        Damage::Unreadable(error) => host::path_error(error),
    }
}

fn usage(error: &UsageError) -> String {
    let suggestion = |suggested: &Option<String>| match suggested {
        Some(suggested) => format!("（{suggested}の間違いではありませんか）"),
        None => String::new(),
    };
    match error {
        UsageError::NoAction => "動作が指定されていません（例: --key KEY、--status、--unregister）".to_owned(),
        UsageError::NotWith { option, typed, only_with } => {
            let names: Vec<String> = only_with.iter().map(|action| format!("--{}", Action::name(*action))).collect();
            format!("{option}は{typed}と同時に指定できません\n指定できるのは{}だけです", names.join("、"))
        }
        UsageError::BareArgument { suggested } => format!(
            "オプションのない引数があります（キーの可能性があるため表示しません）\nキーは--keyで指定してください{}",
            suggestion(suggested)
        ),
        UsageError::Unknown { option, suggested } => {
            format!("不明なオプション{option}です{}", suggestion(suggested))
        }
        UsageError::Conflict { option, other } => format!("{option}と{other}は同時に指定できません"),
        UsageError::Twice { option } => format!("{option}が2回以上指定されています"),
        UsageError::NoValue { option } => format!("{option}に値は指定できません"),
        UsageError::NeedsValue { option } => format!("{option}には値が必要です"),
        UsageError::NotUtf8 => "引数がUTF-8のテキストではありません".to_owned(),
    }
}

fn key(error: &KeyError) -> String {
    match error {
        KeyError::Empty => "ライセンスキーが空です".to_owned(),
        KeyError::TooShort(length) => {
            format!("ライセンスキーが{length}文字しかありません（8文字以上必要です）")
        }
        KeyError::TooLong(length) => format!("ライセンスキーが{length}文字あります（128文字以内です）"),
        KeyError::BadCharacter(bad, at) => {
            format!("ライセンスキーの{at}文字目は、キーに使われない文字です:\n{}", character(*bad))
        }
        KeyError::BadStart(start) => {
            format!("ライセンスキーが「{start}」で始まっています。先頭が欠けています")
        }
        KeyError::CheckSymbol => {
            "ライセンスキーに入力の誤りがあります\n最後の文字がほかの文字と一致しません".to_owned()
        }
    }
}

fn character(c: char) -> String {
    let what = match OddCharacter::of(c) {
        OddCharacter::Plain => return format!("「{c}」"),
        OddCharacter::Space => "空白",
        OddCharacter::Tab => "タブ",
        OddCharacter::LineBreak => "改行",
        OddCharacter::NoBreakSpace => "改行しない空白",
        OddCharacter::ZeroWidthSpace => "目に見えない空白",
        OddCharacter::SoftHyphen => "目に見えないハイフン",
        OddCharacter::Dash => "別の種類のダッシュ（半角の「-」にしてください）",
        OddCharacter::FullWidth => "全角文字（半角にしてください）",
        OddCharacter::DirectionMark => "目に見えない、文字の向きの記号",
        OddCharacter::Control => "制御文字",
        OddCharacter::Other => "英数字、「-」、「_」以外の文字",
    };
    format!("U+{:04X}: {what}", u32::from(c))
}

fn label(error: LabelError) -> String {
    match error {
        LabelError::Empty => "ラベルには1文字以上必要です".to_owned(),
        LabelError::TooLong(length) => format!("ラベルは128文字以内です（{length}文字あります）"),
        LabelError::ControlCharacters => "ラベルに制御文字は使えません".to_owned(),
    }
}

/// What to do about errors of the backend.
fn denial_hint(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::UnknownKey => "受け取ったキーと比べてください\nELS-で始まるもの以外は、大文字と小文字が区別されます",
        Code::KeyExpired => "契約を更新してください。登録済みのマシンでの作業は不要です",
        Code::KeyNotYetValid => "契約が始まってから、同じコマンドをもう一度実行してください",
        Code::KeySuspended | Code::KeyRevoked | Code::KeyReleaseDenied => "キーの購入元に問い合わせてください",
        Code::SystemNotCovered => "/etc/os-releaseと「uname -m」の結果を、契約の対象と比べてください",
        Code::NoFreeSeat => {
            "シートが不要になったマシンで、「els-register --unregister」を実行してください\n\
             すでにないマシンのシートは、次のコマンドで解放できます\n\
             「els-register --seats --key KEY」（一覧）\n\
             「els-register --release ID --key KEY」（解放）"
        }
        Code::CredentialInvalid => "「els-register --key KEY」で新しい認証情報を作成できます",
        Code::UnknownRegistration | Code::RegistrationReleased => {
            "「els-register --key KEY」で、このマシンをもう一度登録できます"
        }
        Code::RateLimited | Code::Unavailable | Code::Internal => {
            "少し待ってから、同じコマンドをもう一度実行してください"
        }
        Code::InvalidRequest | Code::PayloadTooLarge | Code::PathNotCovered | Code::RegistrationConflict => {
            return None;
        }
    })
}

fn id(id: Option<&RegistrationId>) -> String {
    id.map(ToString::to_string).unwrap_or_default()
}

/// The command that releases a seat from elsewhere.
fn release_command(id: &RegistrationId) -> String {
    format!("els-register --release {id} --key KEY")
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

const AGAIN_NO_SECOND_SEAT: &str = "同じコマンドをもう一度実行してください。使うシートは増えません";

const COPY: &str = "複製の場合: 「els-register --key KEY」で、別のマシンとして登録できます\n\
                    登録したマシンのハードウェアが変わった場合:\n\
                    「els-register --key KEY --moved」で、シートと登録IDを引き継げます";
