//! Japanese: `--help`, and the exit statuses.

use els_host::language::padded;

use crate::cli::{EXAMPLES, Options};
use crate::exit;

/// The texts of `--help`, by heading and option. An option of [`Options`] that has no text here does not compile.
macro_rules! options {
    ($($heading:literal { $($option:ident: $text:literal)* })*) => {
        /// The heading and the text of an option; `None` for an option that clap adds.
        fn option(id: &str) -> Option<(&'static str, &'static str)> {
            // The pattern that the compiler checks.
            const _: fn(Options) = |Options { $($($option: _,)*)* }| {};
            match id {
                $($(stringify!($option) => Some(($heading, $text)),)*)*
                _ => None,
            }
        }
    };
}

options! {
    "キー（引数はほかのユーザーから見えるため、--key-fileの方が安全です）" {
        key: "ライセンスキー。ほかの動作の指定がなければ登録"
        key_file: "キーをFILEから読み込む（「-」は標準入力）"
    }
    "動作" {
        register: "環境変数ELS_LICENSE_KEYまたはsystemdのキーで登録"
        refresh: "書き込んだファイルを最新の内容に更新（キーは不要）"
        unregister: "シートを解放し、登録時に書き込んだものを削除"
        status: "このマシンの登録の有無と状態を表示"
        seats: "キーのシートを使っているマシンを一覧表示（rootは不要）"
        release: "なくなったマシンのシートを解放（rootは不要）"
        report: "サポート用の情報（状態、ファイル、確認結果）を表示"
        eula: "エンドユーザー使用許諾契約書を表示"
    }
    "一部の動作のオプション" {
        label: "登録: シート一覧でのこのマシンの名前（%H: ホスト名）"
        moved: "登録: 複製ではなく、ハードウェアだけが変わったマシン"
        offline: "更新、状態: バックエンドに問い合わせない"
        force: "登録解除: シートを解放できなくてもファイルを削除"
        dry_run: "登録、更新、登録解除: 実行内容の表示だけを行う"
    }
    "設定" {
        json: "成功時も失敗時も、JSON文書を1つ出力（英語）"
        server: "バックエンド: https://HOST[:PORT][/PATH]"
        config: "設定ファイル [既定: /etc/els-register.toml]"
        ca_file: "システムのものに加えて信頼するCA証明書（PEM形式）"
        proxy: "HTTPプロキシ: http://[USER:PASSWORD@]HOST:PORT"
        timeout: "待ち時間の合計の上限 [既定: 60]"
        root: "すべてのパスをDIRの下で読み書きする"
        quiet: "警告とエラーだけを表示"
        verbose: "処理の各段階を表示"
        help: "このヘルプを表示"
        version: "バージョンを表示"
    }
}

/// What the exit statuses mean, in the order of `exit::MEANINGS`.
pub(crate) const MEANINGS: [exit::Meaning; exit::MEANINGS.len()] = [
    meaning(0, "完了、または処理不要", "完了。または、処理する必要がなかった"),
    meaning(
        1,
        "失敗（入出力、容量不足など）",
        "以下に当てはまらない失敗（入出力、容量不足、固有の終了ステータスがないバックエンドのエラー）",
    ),
    meaning(2, "使い方または設定の誤り", "使い方または設定の誤り"),
    meaning(3, "このマシンは未登録", "状態、更新: このマシンは登録されていない"),
    meaning(4, "rootが必要", "rootで実行する必要がある"),
    meaning(
        5,
        "拒否: キー、システム",
        "拒否された。キーが不明、期限切れ、契約の開始前、一時停止、失効のいずれか、またはこのシステムが対象外。登録解除では、認証情報が受け付けられない",
    ),
    meaning(6, "空きシートなし", "空いているシートがない"),
    meaning(
        7,
        "接続できない（再実行してください）",
        "バックエンドまたはリポジトリに接続できない、または応答できない。もう一度実行しても安全",
    ),
    meaning(8, "未対応のシステム", "dnfがない、または製品に必要なリポジトリファイルがこのバージョンに含まれていない"),
    meaning(9, "別のels-registerが実行中", "このマシンで別のels-registerが実行中"),
    meaning(
        10,
        "登録済み（破損または複製）",
        "状態: 登録済みだが、破損または複製。「--refresh」または「--key」で修復できる",
    ),
    meaning(11, "登録済み（受付不可）", "状態、更新: このマシンは受け付けられなくなっている"),
];

/// The command line as `--help` describes it.
pub(crate) fn command(command: clap::Command) -> clap::Command {
    command
        .about("延長ライフサイクルサポート（ELS）を利用するため、このマシンを登録します")
        .help_template("{about}\n\n使い方: {usage}\n\n{all-args}{after-help}")
        .override_usage(
            "els-register --key KEY [--label TEXT]\n        \
             els-register --register | --refresh | --unregister | --status\n        \
             els-register --seats --key KEY | --release ID --key KEY\n        els-register --report | --eula",
        )
        .mut_args(|arg| match option(arg.get_id().as_str()) {
            Some((heading, text)) => arg.help_heading(heading).help(text),
            None => arg,
        })
        .after_help(after_help())
}

fn after_help() -> String {
    let (left, right) = MEANINGS.split_at(MEANINGS.len() / 2);
    let mut text = "どのコマンドも、いつ中断しても、もう一度実行できます。\n\n終了ステータス:\n".to_owned();
    for (one, other) in left.iter().zip(right) {
        let one_short = padded(one.short, 35);
        text += &format!("{:>4}  {one_short}{:>2}  {}\n", one.status, other.status, other.short);
    }
    format!("{text}\n例:\n{EXAMPLES}\nファイル、プロキシ、復旧については、els-register(8)を参照してください。")
}

const fn meaning(status: u8, short: &'static str, long: &'static str) -> exit::Meaning {
    exit::Meaning { status, short, long }
}
