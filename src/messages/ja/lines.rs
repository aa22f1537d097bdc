//! Japanese: results, and steps with `--verbose`.

use els_host::confine::Landlock;
use els_host::language::padded;
use els_protocol::Timestamp;
use els_protocol::wire::{RegistrationState, Seats};

use super::id;
use crate::file_state::FileState;
use crate::report::{DryRun, Headline, Line, Progress, RegistrationView, SeatView, StatusLine};

/// A result. It may have more than one line.
pub(crate) fn line(line: &Line) -> String {
    match line {
        Line::Headline(headline) => self::headline(headline),
        Line::Registration(view, seats) => registration(view, seats.as_ref()),
        Line::Next => "次に実行するコマンド:\n  dnf -y --repo='els-*' makecache\n  dnf update".to_owned(),
        Line::LeftOnMachine => "次のものは残しました: インストール済みのパッケージ、\n\
                                dnfのキャッシュ（「dnf clean all」で削除）、\n\
                                インポートした鍵（次のコマンドで表示されるgpg-pubkeyを「rpm -e」で削除）\n\
                                \x20 rpm -q gpg-pubkey --qf \"%{NAME}-%{VERSION}-%{RELEASE} %{SUMMARY}\\n\""
            .to_owned(),
        Line::SeatsUsed(seats) => format!("{}シートのうち{}シートを使用", seats.total, seats.used),
        Line::Seat(seat) => self::seat(seat),
        Line::DryRun(line) => dry_run(line),
        Line::Text(text) => text.clone(),
    }
}

/// A step that is being done.
pub(crate) fn progress(progress: &Progress) -> String {
    match progress {
        Progress::Confined(Landlock::Enforced) => "Landlock: 有効".to_owned(),
        Progress::Confined(Landlock::Partly) => "Landlock: 一部だけ有効".to_owned(),
        Progress::Confined(Landlock::NotAvailable) => "Landlock: 利用不可".to_owned(),
        Progress::Asking { server, id } => format!("「{server}」に登録を要求しています:\n{id}"),
        Progress::NewId => "バックエンドが新しい登録IDを求めたため、もう一度要求しています".to_owned(),
        Progress::Probing { url } => format!("次のリポジトリへの接続を確認しています:\n{url}"),
        Progress::Releasing { server, id } => format!("「{server}」で登録を解放しています:\n{id}"),
    }
}

fn headline(headline: &Headline) -> String {
    match headline {
        Headline::Registered => "登録しました。".to_owned(),
        Headline::RegisteredAnew => "新しい登録IDで登録しました。".to_owned(),
        Headline::AlreadyRegistered => "登録済みです。問題はなく、何も変更していません。".to_owned(),
        Headline::KeyRotated => "登録済みです。この登録は新しいキーのものになりました。".to_owned(),
        Headline::Repaired => "登録済みです。失われたもの、変更されたものを修復しました。".to_owned(),
        Headline::Refreshed => "更新しました。".to_owned(),
        Headline::InOrder => "問題はなく、何も変更していません。".to_owned(),
        Headline::Unregistered => "登録解除しました。シートは解放されました。".to_owned(),
        Headline::Resumed => "前回の実行で残ったものを解放しました。このマシンは登録されていません。".to_owned(),
        Headline::ForeignJournal => {
            "別のマシンのジャーナルがあったため削除しました。解放したものはありません。".to_owned()
        }
        Headline::CleanedUp => "ファイルを削除しました。".to_owned(),
        Headline::NothingToUnregister => "このマシンは登録されていません。何もしていません。".to_owned(),
        Headline::CopyCleaned { original } => format!(
            "登録{}は別のマシンのものです。\nこのマシンのファイルだけを削除し、シートは変更していません。",
            id(original.as_ref())
        ),
        Headline::Released { id } => format!("解放しました。登録{id}はシートを使っていません。"),
        Headline::Status(StatusLine::Registered) => "登録済み".to_owned(),
        Headline::Status(StatusLine::Damaged) => "登録済み（破損）".to_owned(),
        Headline::Status(StatusLine::Copied) => "複製".to_owned(),
        Headline::Status(StatusLine::NoLongerAccepted) => "登録済み（受け付けられなくなっています）".to_owned(),
        Headline::Status(StatusLine::AsKnownHere) => "登録済み（このマシンで分かる範囲）".to_owned(),
    }
}

fn registration(view: &RegistrationView, seats: Option<&Seats>) -> String {
    let mut lines = Vec::new();
    let mut add = |name: &str, value: String| lines.push(format!("  {}  {value}", padded(name, 12)));
    if let Some(product) = &view.product {
        add("製品", format!("{}（{}）", product.name, product.id));
    }
    add("登録ID", view.id.to_string());
    if let Some(key_id) = &view.key_id {
        let contract = view.contract.as_ref().map(|contract| format!("、契約{contract}"));
        add("キーID", format!("{key_id}{}", contract.unwrap_or_default()));
    }
    if let Some(expires) = view.expires {
        add("有効期限", expires.date());
    }
    if let Some(seats) = seats {
        add("シート", format!("{}のうち{}を使用", seats.total, seats.used));
    }
    if let Some(server) = &view.server {
        add("サーバー", server.clone());
    }
    if let Some(url) = &view.repo_url {
        add("リポジトリ", url.clone());
    }
    lines.join("\n")
}

fn seat(seat: &SeatView) -> String {
    let holder = &seat.holder;
    let label = holder.label.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    let seen = padded(&holder.last_seen_at.map_or_else(|| "なし".to_owned(), Timestamp::date), 10);
    let mark = if seat.this_machine { "  <- このマシン" } else { "" };
    let networks = holder.networks.map(|networks| format!("（{networks}ネットワーク）")).unwrap_or_default();
    let state = match (holder.state, holder.until) {
        (RegistrationState::Active, _) => String::new(),
        (RegistrationState::Superseded, None) => "  置き換え済み".to_owned(),
        (RegistrationState::Superseded, Some(until)) => format!("  置き換え済み（{}に終了）", until.date()),
    };
    format!(
        "{}  登録 {}  最終利用 {seen}{networks}{state}  {} {} {}  {label}{mark}",
        holder.registration,
        holder.registered_at.date(),
        holder.os.id,
        holder.os.version,
        holder.arch,
    )
}

fn dry_run(line: &DryRun) -> String {
    match line {
        DryRun::Request { method, url } => format!("送信内容: {method} {url}"),
        DryRun::OtherKey => "このマシンは別のキーで登録されています\n\
                             バックエンドがこのキーで登録を受け付けない場合は、新しい登録IDとトークンを送信し、\n\
                             すべてのファイルを書き込みます"
            .to_owned(),
        DryRun::Header { name, value } => format!("  {name}: {value}"),
        DryRun::File { path, state } => {
            let what = match state {
                FileState::Written => "書き込み",
                FileState::Removed => "削除",
                FileState::Kept | FileState::Unchanged | FileState::Missing | FileState::Altered => "変更なし",
            };
            format!("{} {path}", padded(&format!("{what}:"), 9))
        }
        DryRun::NoFile => "変更するファイルはありません".to_owned(),
        DryRun::AllFiles => {
            "状態ファイルが失われています: すべてのファイルを書き直します\n値は<from the backend>です".to_owned()
        }
        DryRun::Decided { path } => {
            format!(
                "リポジトリファイルの名前、「{path}」、有効期限、\n固定するreleasever（あれば）: <from the backend>"
            )
        }
        DryRun::End => "（予行: 何も送信せず、何も書き込んでいません）".to_owned(),
    }
}
