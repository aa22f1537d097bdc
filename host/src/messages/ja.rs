//! Japanese. docs/developer/japanese.md has the rules.

use els_protocol::{Code, UrlError};
use nix::errno::Errno;

use crate::failure::{
    AnswerFault, CaFault, DnfConfFault, Failure, NetworkFault, OsReleaseFault, ProxyFault, Refusal, SettingFault,
    Stage, TlsFault, Unreachable,
};
use crate::ini::{Fault, FaultKind};
use crate::language::width;
use crate::network::{DNF_CONF, Source};
use crate::root::{Doing, PathError, READ_LIMIT};

/// What failed, on what, and why.
pub fn failure(failure: &Failure) -> String {
    match failure {
        Failure::Path(error) | Failure::Named(error) => path_error(error),
        Failure::Setting { name, fault } => setting(name, fault),
        Failure::MachineId { path } => format!("{path}: 32桁の16進数が書かれていません"),
        Failure::DnfConf(fault) => dnf_conf(fault),
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
        Failure::Answer { server, method, status, fault, .. } => {
            let first =
                format!("「{server}」の{method}への応答（HTTP {status}）は、\nバックエンドのものではありません:");
            lines(&first, &answer(fault))
        }
        Failure::Refused(refusal) => refused(refusal),
    }
}

/// What to do next.
pub fn hint(failure: &Failure) -> Option<String> {
    let text = match failure {
        Failure::Path(error) => path_hint(error.errno),
        Failure::Setting { fault: SettingFault::Certificates(fault), .. } => certificates_hint(fault)?,
        Failure::Setting { .. } | Failure::Named(_) | Failure::Architecture { .. } => return None,
        Failure::Request { .. } | Failure::Refused(_) => return None,
        Failure::MachineId { .. } => "ファイルを空にして、「systemd-machine-id-setup」を実行してください",
        Failure::DnfConf(DnfConfFault::Refused(_)) => {
            "この行を修正してください\n修正するまで、dnfのコマンドはすべて失敗します"
        }
        Failure::DnfConf(DnfConfFault::NoFolder { .. } | DnfConfFault::UnusableFolder { .. }) => {
            "フォルダーを、ワイルドカードのない絶対パスで指定するか、\nこの行を削除してください"
        }
        Failure::DnfConf(DnfConfFault::SetElsewhere { .. }) => {
            "このファイルを削除するか、そのフォルダーをvarsdirから外してください"
        }
        Failure::OsReleaseMissing { .. } => return None,
        Failure::OsRelease { .. } => {
            "このファイルはディストリビューションのリリースパッケージのものです\n変更の有無は「rpm -V」で確認できます"
        }
        Failure::NoPackageManager { .. } => "リポジトリを設定できるのは、dnf、dnf-3、microdnfです",
        Failure::Unreachable(unreachable) => return Some(no_answer_hint(unreachable)),
        Failure::CutOff { .. } => "同じコマンドをもう一度実行してください",
        Failure::Answer { method, status: 403 | 405 | 406 | 501, .. } if method != "GET" => {
            return Some(format!(
                "Webアプリケーションファイアウォールが{method}を遮断している可能性があります\n\
                 このホストへのGET、PUT、DELETEの許可を依頼してください\n\
                 そうでない場合は、サーバーのURLと、\n\
                 プロキシやポータルが代わりに応答していないことを確認してください"
            ));
        }
        Failure::Answer { .. } => {
            "サーバーのURLを確認してください\nプロキシやポータルが代わりに応答していないことも確認してください"
        }
    };
    Some(text.to_owned())
}

/// What could not be done with which file.
pub fn path_error(error: &PathError) -> String {
    let PathError { doing, path, errno, link } = error;
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
        Errno::ELOOP => match link {
            Some(link) => format!("「{link}」はシンボリックリンクです"),
            None => "途中にシンボリックリンクがあります".to_owned(),
        },
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

fn dnf_conf(fault: &DnfConfFault) -> String {
    match fault {
        DnfConfFault::Refused(Fault { line, kind }) => {
            let what = match kind {
                FaultKind::MissingSectionHeader => "最初の[section]より前にあります",
                FaultKind::MissingBracket => "「]」がありません",
                FaultKind::EmptySectionName => "セクションの名前がありません",
                FaultKind::TextAfterSection => "セクションの名前の後ろに文字があります",
                FaultKind::IllegalContinuationLine => "字下げされていますが、前の行に続けられる値がありません",
                FaultKind::MissingKey => "「=」の前に名前がありません",
                FaultKind::MissingEqual => "「=」がありません",
            };
            format!("{DNF_CONF}: {line}行目: {what}\ndnfはこのファイル全体を読み込みません")
        }
        DnfConfFault::NoFolder { key } => format!("{DNF_CONF}: {key}にフォルダーが指定されていません"),
        DnfConfFault::UnusableFolder { key, folder } => {
            lines(&format!("{DNF_CONF}: {key}:"), &format!("「{folder}」には何も書き込めません"))
        }
        DnfConfFault::SetElsewhere { path } => {
            format!("「{path}」があります\ndnfはこの変数を複数のフォルダーから読み込みます（{DNF_CONF}のvarsdir）")
        }
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
        SettingFault::Certificates(fault) => certificates(fault),
        SettingFault::Proxy(ProxyFault::Scheme) => {
            "noneまたはSCHEME://[USER:PASSWORD@]HOST:PORTの形で指定してください\n\
             SCHEME: http、https、socks4、socks4a、socks5、socks5h"
                .to_owned()
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

fn certificates(fault: &CaFault) -> String {
    match fault {
        CaFault::Empty => "証明書（-----BEGIN CERTIFICATE-----）がありません".to_owned(),
        CaFault::Utf16 => "UTF-16のテキストです。PEMファイルはASCIIです".to_owned(),
        CaFault::Pkcs7 => "PKCS #7のファイル（.p7b）で、証明書のファイルではありません".to_owned(),
        CaFault::OtherDer => "バイナリですが、証明書ではありません（PKCS #7またはPKCS #12の可能性）".to_owned(),
        CaFault::PrivateKey => "秘密鍵だけがあり、証明書がありません".to_owned(),
        CaFault::Unreadable { number } => format!("{number}番目の項目を証明書として読み取れません"),
    }
}

fn certificates_hint(fault: &CaFault) -> Option<&'static str> {
    Some(match fault {
        CaFault::Empty | CaFault::PrivateKey => return None,
        CaFault::Utf16 => "次のコマンドで変換できます\niconv -f UTF-16 -t UTF-8 FILE > NEW.pem",
        CaFault::Pkcs7 => "次のコマンドで変換できます\nopenssl pkcs7 -in FILE -print_certs -out NEW.pem",
        CaFault::OtherDer => {
            "次のどちらかのコマンドで変換できます\n\
             openssl pkcs7 -inform DER -in FILE -print_certs -out NEW.pem\n\
             openssl pkcs12 -in FILE -cacerts -nokeys -out NEW.pem"
        }
        CaFault::Unreadable { .. } => "「openssl storeutl -noout -text FILE」で内容を確認できます",
    })
}

fn no_answer(unreachable: &Unreachable) -> String {
    let Unreachable { host, proxy, stage, fault, now, .. } = unreachable;
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

fn no_answer_hint(unreachable: &Unreachable) -> String {
    let hint = match (unreachable.stage, &unreachable.proxy, &unreachable.fault) {
        (Stage::Resolve, Some(_), _) => {
            "プロキシの名前（--proxy、設定ファイル、dnf.conf、https_proxy）と、\nこのマシンのDNSを確認してください"
        }
        (Stage::Resolve, None, _) => {
            "名前とこのマシンのDNSを確認してください\nプロキシが必要な環境では、--proxyで指定してください"
        }
        (Stage::Connect, Some(_), _) => "プロキシのアドレスとポートを確認してください",
        (Stage::Connect, None, _) => {
            "ファイアウォールを確認してください\nプロキシが必要な環境では、--proxyで指定してください\n\
             そのあと、同じコマンドをもう一度実行してください"
        }
        (_, _, NetworkFault::Tls(fault)) => return tls_hint(fault, unreachable.ignored),
        (Stage::Proxy, _, fault) => proxy_hint(fault),
        (Stage::Tls, ..) => {
            "ホストとポートが正しいこと、\nファイアウォールが接続を切断していないことを確認してください"
        }
        (Stage::Established, ..) => "同じコマンドをもう一度実行してください",
    };
    hint.to_owned()
}

fn proxy_hint(fault: &NetworkFault) -> &'static str {
    match fault {
        NetworkFault::ProxyLogin { given: true } => "プロキシのユーザー名とパスワードを確認してください",
        NetworkFault::ProxyLogin { given: false } => {
            "プロキシにユーザー名とパスワードを指定してください\nhttp://USER:PASSWORD@HOST:PORT"
        }
        NetworkFault::ProxySchemes(_) => {
            "Basic認証、またはこのホストへの認証なしの接続の許可を依頼してください\n\
             このマシンで、認証を代行するプロキシ（cntlm、px）を使うこともできます"
        }
        NetworkFault::ProxyForbids => "このホストとポートへのCONNECTの許可を依頼してください",
        NetworkFault::ProxyCannotReach(_) | NetworkFault::Socks(_) => {
            "プロキシには接続できており、原因は認証ではありません\n\
             ホストの名前と、プロキシのDNSとファイアウォールを確認してください"
        }
        NetworkFault::SocksNeedsIpv4 | NetworkFault::HostNameForProxy => {
            "socks4a://またはsocks5h://なら、プロキシが名前を解決します"
        }
        _ => {
            "指定した種類のプロキシ（http、https、socks4、socks4a、socks5、socks5h）で\n\
             あることと、そのポートを確認してください"
        }
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
        NetworkFault::ProxyLogin { given: true } => "ユーザー名とパスワードが拒否されました（407）".to_owned(),
        NetworkFault::ProxyLogin { given: false } => "ユーザー名とパスワードが必要です（407）".to_owned(),
        NetworkFault::ProxySchemes(schemes) => format!(
            "対応している認証方式が{}だけです（407）\nこのプログラムが使えるのはBasicだけです",
            schemes.join("、")
        ),
        NetworkFault::ProxyCannotReach(status) => format!("プロキシがホストに接続できません（{status}）"),
        NetworkFault::Socks(code) => format!("拒否されました: {}", socks(*code)),
        NetworkFault::SocksNeedsIpv4 => "SOCKS 4にはIPv4アドレスが必要ですが、ホストにありません".to_owned(),
        NetworkFault::HostNameForProxy => "このマシンではホストの名前が見つかりません（DNS）".to_owned(),
        NetworkFault::ProxyForbids => "このホストとポートが許可されていません（403）".to_owned(),
        NetworkFault::ProxyStatus(status) => format!("応答は{status}です"),
        NetworkFault::ProxySilent => "応答がプロキシのものではありません".to_owned(),
        NetworkFault::Tls(fault) => tls(fault),
        NetworkFault::Os(errno) => self::errno(*errno),
        NetworkFault::Other(text) => text.clone(),
    }
}

/// The reply codes of SOCKS 5 (RFC 1928, 6) and of SOCKS 4 (from 91).
fn socks(code: u8) -> String {
    let text = match code {
        1 => "一般的な失敗",
        3 => "ネットワークに到達できません",
        4 => "ホストに到達できません",
        5 => "ホストが接続を拒否しました",
        6 => "時間内に応答がありません",
        8 => "この種類のアドレスには対応していません",
        91 => "ホストに到達できないか、許可されていません",
        _ => return format!("コード{code}"),
    };
    format!("{text}（コード{code}）")
}

fn tls(fault: &TlsFault) -> String {
    let text = match fault {
        TlsFault::UnknownIssuer => "証明書が、このシステムの信頼するCAで署名されていません",
        TlsFault::Expired => "証明書の有効期限が切れています",
        TlsFault::NotYetValid => "証明書がまだ有効になっていません",
        TlsFault::OtherHost { presented } if presented.is_empty() => "証明書が別のホストのものです",
        TlsFault::OtherHost { presented } => {
            return lines("証明書が別のホストのものです:", &presented.join("、"));
        }
        TlsFault::NoSubjectAltName => "証明書のsubjectAltNameにホスト名がありません（コモンネームは使われません）",
        TlsFault::CaCertificate => "証明書がCA自身のもの（自己署名）です。CAが発行したサーバーの証明書が必要です",
        TlsFault::IssuerNotCa => "証明書が、CAではない証明書で署名されています",
        TlsFault::OldHash => "証明書チェーンに、SHA-1またはMD5で署名された証明書があります",
        TlsFault::P521 => "証明書チェーンに、ECDSAのP-521またはSHA-512を使う証明書があります（対応していません）",
        TlsFault::SmallKey => "証明書チェーンに、RSA鍵が2048ビット未満の証明書があります",
        TlsFault::Algorithm { oid: Some(oid) } => {
            return format!("証明書チェーンに、対応していない署名アルゴリズムがあります（{oid}）");
        }
        TlsFault::Algorithm { oid: None } => "証明書チェーンに、対応していない署名アルゴリズムがあります",
        TlsFault::BadSignature => "証明書チェーンの署名が正しくないか、鍵が短すぎます",
        TlsFault::CriticalExtension => "証明書チェーンに、対応していないクリティカル拡張を持つ証明書があります",
        TlsFault::Purpose => "証明書がサーバー用ではありません（extendedKeyUsage）",
        TlsFault::NameConstraint => "CAは、この名前の証明書に署名できません（nameConstraints）",
        TlsFault::ChainTooLong => "証明書チェーンが、CAの許す長さを超えています",
        TlsFault::Revoked => "証明書が失効しているか、失効を確認できません",
        TlsFault::OldCertificate => "証明書がX.509のバージョン1または2です",
        TlsFault::Malformed => "証明書の形式が正しくありません",
        TlsFault::Unacceptable => "証明書がサーバーの証明書の規則（RFC 5280）に合っていません",
        TlsFault::NoCertificate => "証明書が提示されません",
        TlsFault::NothingInCommon => "暗号スイート、グループ、署名アルゴリズムのいずれかに、共通のものがありません",
        TlsFault::OldVersion => "接続先が使えるのは、TLS 1.1以前だけです",
        TlsFault::ClientCertificate => "クライアント証明書を求められました",
        TlsFault::NameNotServed => "接続先は、このホスト名のサービスを提供していません",
        TlsFault::Alert { number } => return format!("接続先がハンドシェイクを終了しました（アラート{number}）"),
        TlsFault::NotTls => "接続先がTLSで応答しません",
        TlsFault::Violation => "接続先がTLSのプロトコルに違反しているか、途中で通信が変更されています",
        TlsFault::NoClockOrRandomness => "このマシンで時刻または乱数を取得できません",
        TlsFault::NoAuthorities { why: None } => "このシステムにはCA証明書がありません（パッケージca-certificates）",
        TlsFault::NoAuthorities { why: Some(why) } => {
            return lines("このシステムのCA証明書を読み込めません:", why);
        }
        TlsFault::Unusable => "このマシンではTLSを準備できません",
    };
    text.to_owned()
}

/// `ignored`: a variable with CA certificates that other programs follow.
fn tls_hint(fault: &TlsFault, ignored: Option<&str>) -> String {
    let hint = match fault {
        TlsFault::Expired | TlsFault::NotYetValid => {
            "正しい時刻と比べてください（「timedatectl」「chronyc tracking」）\n原因の多くは時計のずれです"
        }
        TlsFault::UnknownIssuer | TlsFault::NoAuthorities { .. } => {
            let hint = "プロキシがTLSの通信を検査している場合は、そのCAをシステムに追加してください\n\
                        （/etc/pki/ca-trust/source/anchorsに置き、「update-ca-trust」を実行）\n\
                        または、--ca-fileで指定してください";
            return match ignored {
                Some(name) => {
                    format!("{hint}\n{name}が設定されていますが、このプログラムもdnfも使いません")
                }
                None => hint.to_owned(),
            };
        }
        TlsFault::OtherHost { .. } | TlsFault::NameNotServed => {
            "サーバーのURLを確認してください\nプロキシやポータルが代わりに応答していないことも確認してください"
        }
        TlsFault::NoSubjectAltName => {
            "subjectAltNameのある証明書（RFC 9525）を依頼してください\n\
             「openssl req」では-addext subjectAltName=DNS:HOSTが必要です"
        }
        TlsFault::OldHash | TlsFault::SmallKey | TlsFault::BadSignature => {
            "接続先（またはTLSを検査するプロキシ）の管理者に、\n\
             2048ビットのRSAまたはP-256の鍵と、SHA-256の署名を依頼してください"
        }
        TlsFault::P521 | TlsFault::Algorithm { .. } => {
            "接続先（またはTLSを検査するプロキシ）の管理者に、RSA、P-256、P-384のいずれかと\n\
             SHA-256またはSHA-384を使うCAと証明書を依頼してください"
        }
        TlsFault::NothingInCommon | TlsFault::OldVersion => {
            "次のものを依頼してください: TLS 1.3、またはTLS 1.2のECDHEと\n\
             AES-GCMかChaCha20の暗号スイート（CBCだけでは使えません）、\n\
             RSA、P-256、P-384のいずれかの証明書（P-521は使えません）"
        }
        TlsFault::ClientCertificate => {
            "クライアント証明書を求めるゲートウェイは使えません\nサーバーのURLを確認してください"
        }
        TlsFault::NotTls => {
            "ポートを確認してください\nプロキシやポータルが代わりに応答していないことも確認してください"
        }
        TlsFault::Alert { .. } | TlsFault::Violation => {
            "同じコマンドをもう一度実行してください\n続く場合は、途中の機器が妨げています。次のコマンドで確認できます\n\
             openssl s_client -connect HOST:PORT"
        }
        TlsFault::NoClockOrRandomness | TlsFault::Unusable => "同じコマンドをもう一度実行してください",
        TlsFault::CaCertificate
        | TlsFault::IssuerNotCa
        | TlsFault::CriticalExtension
        | TlsFault::Purpose
        | TlsFault::NameConstraint
        | TlsFault::ChainTooLong
        | TlsFault::Revoked
        | TlsFault::OldCertificate
        | TlsFault::Malformed
        | TlsFault::Unacceptable
        | TlsFault::NoCertificate => {
            "接続先（またはTLSを検査するプロキシ）の管理者に、次の結果を見せてください\n\
             openssl s_client -showcerts -connect HOST:PORT"
        }
    };
    hint.to_owned()
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
