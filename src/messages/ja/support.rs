//! Japanese: the text for support.

use els_host::language::padded;

use super::{failure, id};
use crate::file_state::FileState;
use crate::support::{Answer, FileFacts, Registered, Support};
use crate::warning::Warning;

/// One text for support. It holds no secret.
pub(crate) fn support(found: &Support) -> String {
    let mut lines = vec![format!("els-register {}", super::VERSION)];
    let mut add = |name: &str, value: String| lines.push(top(name, &value));
    add("時刻", found.time.to_string());
    add("実行者", if found.root { "root" } else { "一般ユーザー（一部の確認を省略）" }.to_owned());
    add(
        "システム",
        match &found.system {
            Ok((os, architecture)) => format!("{} {} {architecture}", os.id, os.version),
            Err(wrong) => failure(wrong),
        },
    );
    add(
        "パッケージ",
        match &found.packages {
            Ok(()) => "dnfまたはmicrodnfあり".to_owned(),
            Err(wrong) => failure(wrong),
        },
    );
    let presence = |present: bool| if present { "あり" } else { "なし" };
    add(
        "マシン",
        match &found.machine {
            Ok(machine) => format!(
                "マシンID{}、ハードウェアID{}{}",
                presence(machine.machine),
                presence(machine.hardware),
                if machine.container { "、コンテナー" } else { "" },
            ),
            Err(wrong) => failure(wrong),
        },
    );
    settings(found, &mut lines);
    registration(found, &mut lines);
    lines.push("ファイル".to_owned());
    for (path, file) in &found.files {
        let line = match file {
            Ok(Some(FileFacts { mode, state })) => {
                format!("モード{mode:04o}{}", state.map(file_state).unwrap_or_default())
            }
            Ok(None) => "なし".to_owned(),
            Err(wrong) => failure(wrong),
        };
        lines.push(format!("  {path}  {line}"));
    }
    lines.push(top(
        "他リポジトリ",
        &match &found.other_repositories {
            Ok(others) if others.is_empty() => "なし".to_owned(),
            Ok(others) => others.join("、"),
            Err(wrong) => failure(wrong),
        },
    ));
    lines.join("\n")
}

fn settings(found: &Support, lines: &mut Vec<String>) {
    lines.push(top("設定ファイル", &found.config));
    lines.extend(found.problems.iter().map(|problem| below("誤り", &failure(problem))));
    lines.push(below("server", found.server.as_deref().unwrap_or("未設定")));
    lines.push(below("timeout", &format!("{}秒", found.timeout)));
    lines.extend(found.ca_file.iter().map(|path| below("ca_file", path)));
    lines.extend(found.gpg_key.iter().map(|path| below("gpg_key", path)));
    lines.push(top(
        "dnf.conf",
        &match &found.dnf_proxy {
            Ok(Some((proxy, login))) => {
                format!("プロキシ{proxy}{}", if *login { "（ユーザー名あり）" } else { "" })
            }
            Ok(None) => "プロキシなし".to_owned(),
            Err(wrong) => failure(wrong),
        },
    ));
}

fn registration(found: &Support, lines: &mut Vec<String>) {
    let registered = match &found.registered {
        Ok(registered) => registered,
        Err(wrong) => return lines.push(top("登録", &failure(wrong))),
    };
    let Registered { lost, id: known, view, copy, making, releasing, answer } = registered;
    let lost = lost.iter().map(|lost| super::warning(&Warning::Lost(lost.clone())));
    lines.extend(lost.map(|lost| top("失われたもの", &lost)));
    let Some(view) = view else {
        let text = known.map(|_| format!("状態ファイルなし、{}の認証情報あり", id(known.as_ref())));
        return lines.push(top("登録", text.as_deref().unwrap_or("なし")));
    };
    lines.push(top("登録ID", &view.id.to_string()));
    if *copy {
        lines.push(below("複製", "別のマシンで登録したか、ハードウェアが変更（--movedを参照）"));
    }
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let time = |value: Option<els_protocol::Timestamp>| value.map(|time| time.to_string()).unwrap_or_default();
    lines.push(below("キーID", &text(&view.key_id)));
    lines.push(below("契約", &text(&view.contract)));
    lines.push(below("製品", &text(&view.product.as_ref().map(|product| product.id.clone()))));
    lines.push(below("有効期限", &time(view.expires)));
    lines.push(below("登録日時", &time(view.registered_at)));
    lines.push(below("確認日時", &time(view.verified_at)));
    lines.push(below("サーバー", &text(&view.server)));
    lines.push(below("リポジトリ", &text(&view.repo_url)));
    if *making || *releasing > 0 {
        lines.push(top("ジャーナル", &format!("登録途中{}件、解放待ち{releasing}件", usize::from(*making))));
    }
    lines.extend(answer.as_ref().map(|answer| top("バックエンド", &asked(answer))));
}

fn asked(answer: &Answer) -> String {
    match answer {
        Answer::TokenLost => "問い合わせなし（トークンなし）".to_owned(),
        Answer::Accepts { expires, superseded, ahead } => {
            let moved = if *superseded { "（シートは別の登録に移りました）" } else { "" };
            let ahead = ahead.map(|ahead| format!("、時計の差{ahead}秒"));
            format!("受け付け中{moved}、有効期限{expires}{}", ahead.unwrap_or_default())
        }
        Answer::Failed(wrong) => {
            let request = wrong.request_id().map(|id| format!("（要求ID {id}）")).unwrap_or_default();
            format!("{}: {}{request}", wrong.code(), failure(wrong))
        }
    }
}

fn file_state(state: FileState) -> &'static str {
    match state {
        FileState::Written => "、書き込み済み",
        FileState::Unchanged => "、変更なし",
        FileState::Kept => "、そのまま",
        FileState::Removed => "、削除済み",
        FileState::Missing => "、欠落",
        FileState::Altered => "、変更あり",
    }
}

fn top(name: &str, value: &str) -> String {
    format!("{}  {}", padded(name, 12), value.replace('\n', "\n    "))
}

fn below(name: &str, value: &str) -> String {
    format!("  {}  {}", padded(name, 10), value.replace('\n', "\n    "))
}
