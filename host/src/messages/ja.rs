//! Japanese. docs/developer/japanese.md has the rules.

use els_protocol::{Code, UrlError};
use nix::errno::Errno;

use crate::failure::{
    AnswerFault, Failure, NetworkFault, OsReleaseFault, ProxyFault, Refusal, SettingFault, Stage, TlsFault, Unreachable,
};
use crate::language::width;
use crate::network::Source;
use crate::root::{Doing, PathError, READ_LIMIT};

/// What failed, on what, and why.
pub fn failure(failure: &Failure) -> String {
    match failure {
        Failure::Path(error) | Failure::Named(error) => path_error(error),
        Failure::Setting { name, fault } => setting(name, fault),
        Failure::MachineId { path } => format!("{path}: 32桁の16進数が書かれていません"),
        Failure::OsReleaseMissing { path } => format!("OSを判別できません: 「{path}」がありません"),
        Failure::OsRelease { path, fault } => format!(
            "{path}: {}",
            match fault {
                OsReleaseFault::NoId => "IDがありません",
                OsReleaseFault::NoVersion => "VERSION_IDがありません",
                OsReleaseFault::OddCharacters => "IDまたはVERSION_IDに、使えない文字があります",
            }
        ),
        Failure::NoPackageManager { tried } => {
            format!("パッケージマネージャーがありません（{}のいずれも見つかりません）", tried.join("、"))
        }
        Failure::Architecture { errno } => {
            format!("カーネルからアーキテクチャを取得できません: {}", self::errno(*errno))
        }
        Failure::Request { server, why } => format!("「{server}」への要求を作成できません: {why}"),
        Failure::Unreachable(unreachable) => no_answer(unreachable),
        Failure::CutOff { host, fault } => lines(&format!("{host}の応答が途中で切れています:"), &network(fault)),
        Failure::Answer { server, status, fault, .. } => {
            let first = format!("「{server}」の応答（HTTP {status}）はバックエンドのものではありません:");
            lines(&first, &answer(fault))
        }
        Failure::Refused(refusal) => refused(refusal),
    }
}

/// What to do next.
pub fn hint(failure: &Failure) -> Option<String> {
    let text = match failure {
        Failure::Path(error) => path_hint(error.errno),
        Failure::Setting { .. } | Failure::Named(_) | Failure::Architecture { .. } => return None,
        Failure::Request { .. } | Failure::Refused(_) => return None,
        Failure::MachineId { .. } => "ファイルを空にして、「systemd-machine-id-setup」を実行してください",
        Failure::OsReleaseMissing { .. } => return None,
        Failure::OsRelease { .. } => {
            "このファイルはディストリビューションのリリースパッケージのものです\n変更の有無は「rpm -V」で確認できます"
        }
        Failure::NoPackageManager { .. } => "リポジトリを設定できるのは、dnf、dnf-3、microdnfです",
        Failure::Unreachable(unreachable) => no_answer_hint(unreachable),
        Failure::CutOff { .. } => "同じコマンドをもう一度実行してください",
        Failure::Answer { .. } => {
            "サーバーのURLを確認してください\nプロキシやポータルが代わりに応答していないことも確認してください"
        }
    };
    Some(text.to_owned())
}

/// What could not be done with which file.
pub fn path_error(error: &PathError) -> String {
    let PathError { doing, path, errno } = error;
    let failed = match doing {
        Doing::Open => "を開けません",
        Doing::Read => "を読み込めません",
        Doing::List => "の一覧を取得できません",
        Doing::Write => "を書き込めません",
        Doing::WriteTo => "に書き込めません",
        Doing::MakeFolderOf => "のフォルダーを作成できません",
        Doing::Rename => "の名前を変更できません",
        Doing::Remove => "を削除できません",
        Doing::Lock => "をロックできません",
    };
    let why = match *errno {
        Errno::ELOOP => "途中にシンボリックリンクがあります".to_owned(),
        Errno::EILSEQ => "UTF-8のテキストではありません".to_owned(),
        Errno::EFBIG => format!("{READ_LIMIT}バイトを超えています"),
        Errno::ENOTSUP => "通常のファイルではありません".to_owned(),
        errno => self::errno(errno),
    };
    lines(&format!("「{path}」{failed}:"), &why)
}

/// Where a proxy was named.
pub fn proxy_source(source: &Source) -> String {
    match source {
        Source::Environment(name) => format!("環境変数{name}"),
        Source::Flag | Source::Config(_) | Source::DnfConf => source.setting(),
    }
}

/// Begins a warning.
pub fn warning_label() -> &'static str {
    "警告:"
}

/// Begins an error.
pub fn error_label() -> &'static str {
    "エラー:"
}

/// Names the request in the backend's log.
pub fn request_id(id: &str) -> String {
    format!("要求ID: {id}")
}

/// The result could not be printed.
pub fn cannot_print(error: &std::io::Error) -> String {
    let why = error.raw_os_error().map_or_else(|| error.to_string(), |raw| errno(Errno::from_raw(raw)));
    format!("標準出力に書き込めません: {why}")
}

/// What failed, and why: on one line of a terminal if there is room beside the label, else on two.
pub fn lines(what: &str, why: &str) -> String {
    let space = if width(what) + 1 + width(why) <= 72 { " " } else { "\n" };
    format!("{what}{space}{why}")
}

/// Why a URL is not accepted.
pub fn url_error(error: UrlError) -> &'static str {
    match error {
        UrlError::Scheme => "https://で始まっていません",
        UrlError::Login => "ユーザー名またはパスワードが含まれています",
        UrlError::Query => "クエリまたはフラグメントが含まれています",
        UrlError::Path => "パスに使えるのは英数字と . _ ~ / - だけです",
        UrlError::Port => "ポートが1から65535までの数ではありません",
        UrlError::Host => "ホストが名前でもアドレスでもありません",
        UrlError::PlainHttp => "httpを使えるのはループバックアドレスだけです（https://を使ってください）",
        UrlError::PlainHttpRepository => {
            "ループバックアドレスのhttpですが、バックエンドはループバックアドレスにありません"
        }
    }
}

fn path_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOSPC | Errno::EDQUOT => "空き容量を増やしてから、同じコマンドをもう一度実行してください",
        Errno::EROFS => "ファイルシステムを書き込み可能にしてから、\n同じコマンドをもう一度実行してください",
        Errno::EACCES | Errno::EPERM => {
            "アクセス権、「lsattr」の属性、セキュリティポリシーを確認してから、\n\
             同じコマンドをもう一度実行してください"
        }
        Errno::ELOOP => "シンボリックリンクの先には書き込みません\n実体のファイルまたはフォルダーを置いてください",
        Errno::EISDIR | Errno::ENOTDIR | Errno::ENOTSUP => {
            "そこにあるものを移動してから、同じコマンドをもう一度実行してください"
        }
        _ => "原因を取り除いてから、同じコマンドをもう一度実行してください\n失われたものはありません",
    }
}

fn setting(name: &str, fault: &SettingFault) -> String {
    let why = match fault {
        SettingFault::NotUtf8 => "UTF-8のテキストではありません".to_owned(),
        SettingFault::Toml { line, key, message } => {
            let line = line.map(|line| format!("{line}行目: ")).unwrap_or_default();
            let key = key.as_ref().map(|key| format!("{key}: ")).unwrap_or_default();
            format!("{line}{key}{message}")
        }
        SettingFault::Timeout => "1から86400までの秒数を指定してください".to_owned(),
        SettingFault::Url { why } => url_error(*why).to_owned(),
        SettingFault::Path(error) => path_error(error),
        SettingFault::MissingFile { path } => format!("「{path}」がありません"),
        SettingFault::Certificates { why: Some(why) } => format!("PEM形式の証明書ファイルではありません: {why}"),
        SettingFault::Certificates { why: None } => "証明書（-----BEGIN CERTIFICATE-----）がありません".to_owned(),
        SettingFault::Proxy(ProxyFault::Scheme) => {
            "使えるのはHTTPプロキシだけです: http://[USER:PASSWORD@]HOST:PORT".to_owned()
        }
        SettingFault::Proxy(ProxyFault::Port) => "ポートは1から65535までの数で指定してください".to_owned(),
        SettingFault::Proxy(ProxyFault::Host) => {
            "ホストは名前またはアドレス（IPv6は角括弧で囲む）で指定してください".to_owned()
        }
        SettingFault::Proxy(ProxyFault::Login) => {
            "ユーザー名とパスワードはUTF-8のテキストで指定してください".to_owned()
        }
    };
    lines(&format!("{name}:"), &why)
}

fn no_answer(unreachable: &Unreachable) -> String {
    let Unreachable { host, proxy, stage, fault, now } = unreachable;
    let why = network(fault);
    let via = proxy.as_ref().map(|proxy| format!("（プロキシ{proxy}経由）")).unwrap_or_default();
    match (stage, proxy) {
        (Stage::Resolve, Some(proxy)) => lines(&format!("プロキシ{proxy}が見つかりません:"), &format!("DNS: {why}")),
        (Stage::Resolve, None) => lines(&format!("{host}が見つかりません:"), &format!("DNS: {why}")),
        (Stage::Connect, Some(proxy)) => {
            let first = format!("プロキシ{proxy}に接続できません（接続先{host}）:");
            lines(&first, &format!("TCP: {why}"))
        }
        (Stage::Connect, None) => lines(&format!("{host}に接続できません:"), &format!("TCP: {why}")),
        (Stage::Proxy, _) => lines(&format!("{host}に接続できません{via}:"), &format!("プロキシ: {why}")),
        (Stage::Tls, _) => {
            let failed = lines(&format!("{host}に接続できません{via}:"), &format!("TLS: {why}"));
            let clock = is_about_dates(fault).then(|| format!("\nこのマシンの時計は{now}です"));
            failed + &clock.unwrap_or_default()
        }
        (Stage::Established, _) => lines(&format!("{host}から応答がありません{via}:"), &why),
    }
}

fn no_answer_hint(unreachable: &Unreachable) -> &'static str {
    match (unreachable.stage, &unreachable.proxy) {
        (Stage::Resolve, Some(_)) => {
            "プロキシの名前（--proxy、設定ファイル、https_proxy、dnf.conf）と、\nこのマシンのDNSを確認してください"
        }
        (Stage::Resolve, None) => {
            "名前とこのマシンのDNSを確認してください\nプロキシが必要な環境では、--proxyで指定してください"
        }
        (Stage::Connect, Some(_)) => "プロキシのアドレスとポートを確認してください",
        (Stage::Connect, None) => {
            "ファイアウォールを確認してください\nプロキシが必要な環境では、--proxyで指定してください\n\
             そのあと、同じコマンドをもう一度実行してください"
        }
        (Stage::Proxy, _) => {
            "プロキシのユーザー名とパスワードを確認してください\n\
             また、このホストとポートへのCONNECTが許可されていることも確認してください"
        }
        (Stage::Tls, _) if is_about_dates(&unreachable.fault) => {
            "正しい時刻と比べてください（「timedatectl」「chronyc tracking」）\n原因の多くは時計のずれです"
        }
        (Stage::Tls, _) => {
            "プロキシがTLSの通信を検査している場合は、そのCAをシステムに追加してください\n\
             （/etc/pki/ca-trust/source/anchorsに置き、「update-ca-trust」を実行）\n\
             または、--ca-fileで指定してください"
        }
        (Stage::Established, _) => "同じコマンドをもう一度実行してください",
    }
}

fn is_about_dates(fault: &NetworkFault) -> bool {
    matches!(fault, NetworkFault::Tls(fault) if fault.is_about_dates())
}

fn network(fault: &NetworkFault) -> String {
    match fault {
        NetworkFault::NoTimeLeft => "--timeoutの時間を使い切りました".to_owned(),
        NetworkFault::TimedOut => "--timeoutの時間内に応答がありません".to_owned(),
        NetworkFault::NameUnknown => "この名前は見つかりません".to_owned(),
        NetworkFault::ClosedEarly => "接続が途中で閉じられました".to_owned(),
        NetworkFault::NotHttp => "応答がHTTPではありません".to_owned(),
        NetworkFault::HeadTooLarge => "応答のヘッダーが大きすぎます".to_owned(),
        NetworkFault::BodyTooLarge { most } => format!("応答が{most}バイトを超えています"),
        NetworkFault::ProxyLogin => {
            "ユーザー名とパスワードが必要です。または、指定したものが拒否されました（407）".to_owned()
        }
        NetworkFault::ProxyForbids => "このホストとポートが許可されていません（403）".to_owned(),
        NetworkFault::ProxyStatus(status) => format!("応答は{status}です"),
        NetworkFault::ProxySilent => "応答がプロキシのものではありません".to_owned(),
        NetworkFault::Tls(fault) => tls(fault),
        NetworkFault::Os(errno) => self::errno(*errno),
        NetworkFault::Other(text) => text.clone(),
    }
}

fn tls(fault: &TlsFault) -> String {
    match fault {
        TlsFault::UnknownIssuer => "証明書が、このシステムの信頼するCAで署名されていません".to_owned(),
        TlsFault::Expired => "証明書の有効期限が切れています".to_owned(),
        TlsFault::NotYetValid => "証明書がまだ有効になっていません".to_owned(),
        TlsFault::OtherHost => "証明書が別のホストのものです".to_owned(),
        TlsFault::CaCertificate => {
            "証明書がCA自身のもの（自己署名）です。CAが発行したサーバーの証明書が必要です".to_owned()
        }
        TlsFault::NotTls => "接続先がTLSで応答しません".to_owned(),
        TlsFault::NoAuthorities { why: None } => {
            "このシステムにはCA証明書がありません（パッケージca-certificates）".to_owned()
        }
        TlsFault::NoAuthorities { why: Some(why) } => {
            format!("このシステムのCA証明書を読み込めません: {why}")
        }
        TlsFault::Certificate(why) => format!("証明書を受け入れられません（{why}）"),
        TlsFault::Other(why) => why.clone(),
    }
}

fn answer(fault: &AnswerFault) -> String {
    match fault {
        AnswerFault::NoApiHeader => {
            "ヘッダー「Els-Api: 1」がありません（プロキシやポータルの画面かもしれません）".to_owned()
        }
        AnswerFault::NotAProblem => "エラーですが、プロトコルの形式ではありません".to_owned(),
        AnswerFault::UnreadableProblem => "エラーですが、読み取れません".to_owned(),
        AnswerFault::StatusAndCodeDiffer => "ステータスとコードが一致しません".to_owned(),
        AnswerFault::UnexpectedStatus => "想定外のステータスです".to_owned(),
        AnswerFault::OtherId => "別の登録についての応答です".to_owned(),
        AnswerFault::Unreadable { why } => format!("読み取れません: {why}"),
    }
}

fn refused(refusal: &Refusal) -> String {
    let Refusal { host, status, code, known, title, detail, seats, .. } = refusal;
    let what = if *status >= 500 { "で処理に失敗しました" } else { "に拒否されました" };
    // A code that this version does not know is described in the backend's own words.
    let title = known.map(denial).unwrap_or(if title.is_empty() { code } else { title });
    let detail = detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
    let refused = lines(&format!("{host}{what}:"), &format!("{title}（{code}）{detail}"));
    match seats {
        Some(seats) => format!("{refused}\n{}シートのうち{}シートを使用しています", seats.total, seats.used),
        None => refused,
    }
}

fn denial(code: Code) -> &'static str {
    match code {
        Code::InvalidRequest => "要求の形式が正しくありません",
        Code::CredentialInvalid => "認証情報が正しくありません",
        Code::UnknownKey => "このライセンスキーは見つかりません",
        Code::KeyExpired => "ライセンスキーの有効期限が切れています",
        Code::KeyNotYetValid => "ライセンスキーの契約がまだ始まっていません",
        Code::KeySuspended => "ライセンスキーは一時停止されています",
        Code::KeyRevoked => "ライセンスキーは失効しています",
        Code::KeyReleaseDenied => "このキーのシートを解放できるのはベンダーだけです",
        Code::SystemNotCovered => "ライセンスキーの製品は、このシステムを対象としていません",
        Code::PathNotCovered => "この登録の製品は、このパスを対象としていません",
        Code::UnknownRegistration => "この登録は見つかりません",
        Code::NoFreeSeat => "ライセンスキーのシートはすべて使用中です",
        Code::RegistrationConflict => "この登録IDは使用中です",
        Code::RegistrationReleased => "この登録は解放されています",
        Code::PayloadTooLarge => "要求が大きすぎます",
        Code::RateLimited => "要求が多すぎます",
        Code::Internal => "バックエンドで問題が発生しました",
        Code::Unavailable => "バックエンドは現在利用できません",
    }
}

/// The system's words for the errors that are met in practice; the others have the English text of the C library.
fn errno(errno: Errno) -> String {
    let text = match errno {
        Errno::ENOENT => "ファイルまたはフォルダーがありません",
        Errno::EACCES => "アクセス権がありません",
        Errno::EPERM => "許可されていない操作です",
        Errno::ENOSPC => "空き容量がありません",
        Errno::EDQUOT => "ディスクの使用量制限を超えています",
        Errno::EROFS => "読み込み専用のファイルシステムです",
        Errno::EISDIR => "フォルダーです",
        Errno::ENOTDIR => "フォルダーではありません",
        Errno::ENAMETOOLONG => "名前が長すぎます",
        Errno::EIO => "入出力エラーです",
        Errno::EBUSY => "使用中です",
        Errno::EMFILE | Errno::ENFILE => "開いているファイルが多すぎます",
        Errno::ENOMEM => "メモリーが足りません",
        Errno::EPIPE => "パイプが切断されました",
        Errno::ECONNREFUSED => "接続が拒否されました",
        Errno::ECONNRESET => "接続が相手からリセットされました",
        Errno::ETIMEDOUT => "接続がタイムアウトしました",
        Errno::EHOSTUNREACH => "ホストへの経路がありません",
        Errno::ENETUNREACH => "ネットワークに到達できません",
        Errno::EADDRNOTAVAIL => "このアドレスは使えません",
        other => other.desc(),
    };
    text.to_owned()
}
