set -l locale (string match -v '' -- $LC_ALL $LC_MESSAGES $LANG C)
if string match -qr '^ja(_[^.@]*)?(\.[Uu][Tt][Ff]-?8)?(@.*)?$' -- $locale[1]
complete -c els-register -l key -d 'ライセンスキー。ほかの動作の指定がなければ登録' -r -f
complete -c els-register -l key-file -d 'キーをFILEから読み込む（「-」は標準入力）' -r -F
complete -c els-register -l release -d 'なくなったマシンのシートを解放（rootは不要）' -r -f
complete -c els-register -l label -d '登録: シート一覧でのこのマシンの名前（%H: ホスト名）' -r -f
complete -c els-register -l server -d 'バックエンド: https://HOST[:PORT][/PATH]' -r -f
complete -c els-register -l config -d '設定ファイル [既定: /etc/els-register.toml]' -r -F
complete -c els-register -l ca-file -d 'システムのものに加えて信頼するCA証明書（PEM形式）' -r -F
complete -c els-register -l proxy -d 'HTTPプロキシ: http://[USER:PASSWORD@]HOST:PORT' -r -f
complete -c els-register -l timeout -d '待ち時間の合計の上限 [既定: 60]' -r -f
complete -c els-register -l root -d 'すべてのパスをDIRの下で読み書きする' -r -f -a "(__fish_complete_directories)"
complete -c els-register -l register -d '環境変数ELS_LICENSE_KEYまたはsystemdのキーで登録'
complete -c els-register -l refresh -d '書き込んだファイルを最新の内容に更新（キーは不要）'
complete -c els-register -l unregister -d 'シートを解放し、登録時に書き込んだものを削除'
complete -c els-register -l status -d 'このマシンの登録の有無と状態を表示'
complete -c els-register -l seats -d 'キーのシートを使っているマシンを一覧表示（rootは不要）'
complete -c els-register -l report -d 'サポート用の情報（状態、ファイル、確認結果）を表示'
complete -c els-register -l eula -d 'エンドユーザー使用許諾契約書を表示'
complete -c els-register -l moved -d '登録: 複製ではなく、ハードウェアだけが変わったマシン'
complete -c els-register -l offline -d '更新、状態: バックエンドに問い合わせない'
complete -c els-register -l force -d '登録解除: シートを解放できなくてもファイルを削除'
complete -c els-register -l dry-run -d '登録、更新、登録解除: 実行内容の表示だけを行う'
complete -c els-register -l json -d '成功時も失敗時も、JSON文書を1つ出力（英語）'
complete -c els-register -s q -l quiet -d '警告とエラーだけを表示'
complete -c els-register -s v -l verbose -d '処理の各段階を表示'
complete -c els-register -s h -l help -d 'このヘルプを表示'
complete -c els-register -s V -l version -d 'バージョンを表示'
else
complete -c els-register -l key -d 'License key; registers unless another action is given' -r -f
complete -c els-register -l key-file -d 'Read the key from FILE (\'-\': standard input)' -r -F
complete -c els-register -l release -d 'Release the seat of a machine that is gone; needs no root' -r -f
complete -c els-register -l label -d 'Register: name of this machine in the seat list (%H: host name)' -r -f
complete -c els-register -l server -d 'The backend: https://HOST[:PORT][/PATH]' -r -f
complete -c els-register -l config -d 'Configuration [default: /etc/els-register.toml]' -r -F
complete -c els-register -l ca-file -d 'CA certificates (PEM) to trust in addition to the system\'s' -r -F
complete -c els-register -l proxy -d 'HTTP proxy: http://[USER:PASSWORD@]HOST:PORT' -r -f
complete -c els-register -l timeout -d 'Time limit for all waiting together [default: 60]' -r -f
complete -c els-register -l root -d 'Read and write all paths below DIR' -r -f -a "(__fish_complete_directories)"
complete -c els-register -l register -d 'Register with the key in ELS_LICENSE_KEY or a systemd credential'
complete -c els-register -l refresh -d 'Bring the written files up to date; needs no key'
complete -c els-register -l unregister -d 'Release the seat and remove what registering wrote'
complete -c els-register -l status -d 'Show whether this machine is registered and in order'
complete -c els-register -l seats -d 'List the machines that hold the key\'s seats; needs no root'
complete -c els-register -l report -d 'Print a text for support: state, files, checks; no secrets'
complete -c els-register -l eula -d 'Print the end-user license agreement'
complete -c els-register -l moved -d 'Register: this is the registered machine on new hardware, not a copy'
complete -c els-register -l offline -d 'Refresh, status: do not ask the backend'
complete -c els-register -l force -d 'Unregister: remove the files even if the seat cannot be released'
complete -c els-register -l dry-run -d 'Register, refresh, unregister: only print what would be done'
complete -c els-register -l json -d 'Print one JSON document, on success and on failure'
complete -c els-register -s q -l quiet -d 'Print only warnings and errors'
complete -c els-register -s v -l verbose -d 'Print each step'
complete -c els-register -s h -l help -d 'Print this help'
complete -c els-register -s V -l version -d 'Print the version'
end
