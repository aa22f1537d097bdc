//! Japanese: warnings.

use els_host::dnf_conf;
use els_host::messages::ja as host;
use els_host::network::Source;

use super::{COPY, failure, release_command};
use crate::warning::{FileKept, NotReleased, Warning};

/// One warning.
pub(crate) fn warning(warning: &Warning) -> String {
    match warning {
        Warning::SettingIgnored(cause) => format!("{}\nこの設定は無視されました", failure(cause)),
        Warning::IdUnreadable(cause) => format!("{}\nこのIDはないものとして扱います", failure(cause)),
        Warning::Lost(lost) => {
            let what =
                if lost.is_json { "の項目が正しくありません" } else { "はJSONではありません" };
            format!("「{}」{what}（{}行目）\n失われたものとして扱います", lost.path, lost.line)
        }
        Warning::FileKept(kept) => file_kept(kept),
        Warning::ThirdParty { ids } => format!(
            "ELSでもディストリビューションのものでもない、有効なリポジトリがあります:\n{}\n\
             そのパッケージがELSのパッケージを置き換えたり、\nより新しいパッケージを必要としたりする場合があります\n\
             「dnf config-manager --set-disabled ID」で無効にできます",
            ids.join("、")
        ),
        Warning::ThirdPartyUnknown(cause) => {
            format!("このマシンのリポジトリを確認できませんでした:\n{}", failure(cause))
        }
        Warning::ReleasePinned { ids, release } => format!(
            "dnfのreleaseverを{release}に固定しました。これを使う、有効なリポジトリがあります:\n{}\n\
             マイナーリリースに対応していないリポジトリがあると、dnfは失敗します\n\
             その場合は、リポジトリのファイルにメジャーリリースを書いてください",
            ids.join("、")
        ),
        Warning::Expired { expires, confirmed: true } => {
            format!("キーの有効期限（{}）が切れています\n猶予期間が終わると、新しい更新は届きません", expires.date())
        }
        Warning::Expired { expires, confirmed: false } => format!(
            "このマシンで分かる範囲では、キーの有効期限（{}）が切れています\n\
             契約の更新は、オフラインでは確認できません",
            expires.date()
        ),
        Warning::SectionsOff { ids, path } => format!(
            "無効になっているか、dnfがファイルを読み込まないリポジトリがあります:\n{}\n\
             その更新は届きません。enabled=1にしてください\n「{path}」",
            ids.join("、")
        ),
        Warning::MetadataKeyNotAccepted { ids } => format!(
            "dnfがまだメタデータの鍵を受け入れていないリポジトリがあります:\n{}\n\
             自動の更新では対象になりません。次のコマンドを実行してください\n\
             dnf -y --repo='els-*' makecache",
            ids.join("、")
        ),
        Warning::SystemChanged { from, to } => format!(
            "このマシンの登録時のOSは{} {}で、現在のOSは{} {}です\n\
             現在のOSのキーで「els-register --key KEY」を実行すると、\nそのリポジトリを設定できます",
            from.id, from.version, to.id, to.version
        ),
        Warning::MetadataOld { from, days } => format!(
            "リポジトリのメタデータは{}のもの（{days}日前）で、\nそれより新しい更新は提供されていません\n\
             ベンダーまたはミラーの管理者に問い合わせてください",
            from.date()
        ),
        Warning::ExpiresSoon { expires, days } => {
            format!("キーの有効期限は{}です（あと{days}日）", expires.date())
        }
        Warning::Clock { behind } => {
            let direction = if *behind > 0 { "遅れています" } else { "進んでいます" };
            format!(
                "このマシンの時計は、バックエンドより{}分{direction}\nTLSと署名の検証には正しい時刻が必要です\n\
                 （「timedatectl」「chronyc tracking」で確認できます）",
                behind.abs()
            )
        }
        Warning::ProxyUnknownToDnf { source, proxy, user } => {
            let dnf = match source {
                Source::Environment(_) => "にはdnfも従いますが、\nタイマーやサービスから実行された場合は従いません",
                Source::Flag | Source::Config(_) | Source::DnfConf => "を、dnfは読み込みません",
            };
            let login = match user {
                Some(user) => format!("\nproxy_username={user}\nproxy_password=..."),
                None => String::new(),
            };
            format!(
                "プロキシの指定元（{}）{dnf}\n「{}」の[main]に次の行を追加してください\nproxy={proxy}{login}",
                host::proxy_source(source),
                dnf_conf::PATH
            )
        }
        Warning::ProxyPasswordReadable { path, dnf } => {
            let condition = if *dnf { "（dnfを使うのがrootだけの場合）" } else { "" };
            format!(
                "「{path}」にプロキシのパスワードがあり、\nほかのユーザーが読み取れます\nchmod 600 {path}{condition}"
            )
        }
        Warning::ProxyNone => format!(
            "0.71より前のlibdnfは、「{}」の\n[main]のproxy=_none_をホスト名として扱います\n\
             すべてのバージョンで使えるproxy=に変更してください",
            dnf_conf::PATH
        ),
        Warning::CaUnknownToDnf { path } => format!(
            "「{path}」がなければ、このシステムは接続先を信頼しません\n\
             そのため、dnfが接続を拒否します。次のコマンドを実行してください\n\
             cp {path} /etc/pki/ca-trust/source/anchors/ && update-ca-trust"
        ),
        Warning::CaNotOfDnf { only } => format!(
            "dnfが信頼するのは、「{only}」のCA証明書だけです\n（「{}」のsslcacert）\n\
             接続先のCAがそこにありません。このファイルに追加してください",
            dnf_conf::PATH
        ),
        Warning::RegisteredCopy { original } => format!(
            "登録{original}は別のマシンのものです\nそのため、このマシンを別のマシンとして登録しました\n\
             同じマシンのハードウェアが変わった場合は、--movedで登録し、\n次のコマンドで古いシートを解放してください\n{}",
            release_command(original)
        ),
        Warning::UnregisteredCopy => {
            format!("登録したマシンのハードウェアが変わった場合は、--movedで登録してください\n{COPY}")
        }
        Warning::IsCopy => format!("このマシンは、登録したマシンではありません\n{COPY}"),
        Warning::OldSeatDisputed { id } => format!(
            "以前の登録{id}は、\n別のキーまたは別のマシンのものなので、そのまま残しました\n\
             このマシンのものだった場合は、次のコマンドでシートを解放してください\n{}",
            release_command(id)
        ),
        Warning::OldSeatWithoutToken { id } => format!(
            "以前の登録{id}のトークンが失われたため、\nシートを解放できませんでした。次のコマンドで解放してください\n{}",
            release_command(id)
        ),
        Warning::NotReleased { id, what } => not_released(&id.to_string(), what, &release_command(id)),
        Warning::Journal(cause) => failure(cause),
        Warning::ReleasedThisMachine => {
            "このマシン自身の登録を解放しました\nファイルは「els-register --unregister」で削除できます".to_owned()
        }
        Warning::Forced(cause) => format!("次の失敗がありましたが、ファイルを削除しました:\n{}", failure(cause)),
        Warning::SeatMovedHere { from } => format!(
            "このマシンは登録{from}のマシンと同じに見えるため、\n\
             そのシートを引き継ぎました。両方が使われている場合、シートに空きがあれば、\n\
             それぞれにシートが割り当てられます\n\
             1時間後に「els-register --status」で、このマシンのシートを確認してください"
        ),
        Warning::SeatMovedAway { until } => {
            let end = until.map(|until| format!("\n使われなければ、この登録は{}に終了します", until.date()));
            format!(
                "このマシンのシートは、同じに見えるマシンの新しい登録に移りました\n\
                 両方が使われている場合、シートに空きがあれば、\n\
                 それぞれにシートが割り当てられます\n\
                 1時間後に「els-register --status」をもう一度実行してください{}",
                end.unwrap_or_default()
            )
        }
        Warning::Offline => {
            "rootで実行していないため、バックエンドに問い合わせていません\nこのマシンで分かることだけを表示します"
                .to_owned()
        }
        Warning::Interrupted => {
            "前回の実行が中断されています\n同じコマンドをもう一度実行するか、--unregisterを実行してください".to_owned()
        }
    }
}

fn not_released(id: &str, what: &NotReleased, release: &str) -> String {
    let later = "次の実行でもう一度試します。次のコマンドでも解放できます";
    match what {
        NotReleased::New(cause) => {
            format!("登録{id}を解放できませんでした\n（{}）\n{later}\n{release}", failure(cause))
        }
        NotReleased::Superseded(cause) => {
            format!("以前の登録{id}を解放できませんでした\n（{}）\n{later}\n{release}", failure(cause))
        }
        NotReleased::Journaled => format!("登録{id}はまだ解放されていません\n{later}\n{release}"),
        NotReleased::Abandoned => {
            format!("登録{id}のシートは解放されていません\n次のコマンドで解放してください\n{release}")
        }
    }
}

fn file_kept(kept: &FileKept) -> String {
    match kept {
        FileKept::Edited { path } => format!("「{path}」は編集されているため、そのまま残しました"),
        FileKept::EditedBesideNew { path, new } => format!(
            "「{path}」は編集されているため、そのまま残しました\n\
             同梱のファイルも変わっています。「{new}」と比べてください"
        ),
        FileKept::EditedAndMoved { path, to } => {
            format!("「{path}」は編集されていました\n「{to}」に名前を変更しました")
        }
        FileKept::OtherRelease { path, to } => {
            format!("「{path}」がすでにありました\nその値は「{to}」に移しました。登録解除のときに元に戻します")
        }
        FileKept::NotOurs { path, to } => {
            format!("els-registerのものではない「{path}」がありました\n「{to}」に名前を変更しました")
        }
        FileKept::OtherKey { path, to } => {
            format!("別の鍵の「{path}」がありました\n「{to}」に名前を変更しました")
        }
        FileKept::NotTheInstalledKey { path } => {
            format!("「{path}」はインストールした鍵ではないため、そのまま残しました")
        }
    }
}
