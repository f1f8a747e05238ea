package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/internal/whole"
	"github.com/sightline-edge/sightline/updater/mirror"
	"github.com/sightline-edge/sightline/updater/publish"
	"github.com/sightline-edge/sightline/updater/trust"
)

// keysOptions are the flags of keys and publish.
type keysOptions struct {
	dir, repo, passphrase string
	online, out, old      string
	noUpload, json        bool

	prompt *prompt
}

func newKeys() *cobra.Command {
	var o keysOptions
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "make, show and rotate the keys that updates are signed with",
		Long: `keys makes the keys behind every update and changes them. Three root keys, of
which two must sign, say which keys sign what. The targets key signs bundles.
Both stay with people, encrypted and off the fleet. The keys for snapshot and
timestamp are the fleet's own; stolen, they can delay an update but not make one.

docs/how-updates-work.md says who should hold which key, and what to do when one
is lost or stolen.`,
		Example: `  # once, logged in to the fleet as an administrator; then give root-2.key and
  # root-3.key to two other people and delete them here
  sightline keys init --dir sightline-keys

  # a key was stolen or lost: a new one, signed by two of the root keys
  sightline keys rotate targets --dir sightline-keys
  sightline keys rotate root-1 --dir sightline-keys --out 2.root.json
  sightline keys sign 2.root.json --dir /media/stick`,
	}
	f := cmd.PersistentFlags()
	f.StringVar(&o.dir, "dir", defaultKeys, "folder of the keys")
	f.StringVar(&o.repo, "repo", "", "publish to this folder, without a fleet")
	f.StringVar(&o.passphrase, "passphrase-file", "", "file whose first line opens all keys, in place of asking")
	f.BoolVar(&o.noUpload, "no-upload", false, "send nothing to the fleet")
	f.BoolVar(&o.json, "json", false, "print the result for programs")
	cmd.AddCommand(newKeysInit(&o), newKeysShow(&o), newKeysRotate(&o), newKeysRenew(&o), newKeysSign(&o))
	return cmd
}

func newKeysInit(o *keysOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init",
		Short: "make three root keys and the targets key, and the first root",
		Long: `init makes the keys, each in its own encrypted file, and 1.root.json, which
devices pin when they are enrolled. It asks the fleet that you are logged in to
for its public keys and sends it the root. On a machine without a network, take
the fleet's keys from a file: GET /v1/updates/keys gives it.`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.prompt = newPrompt(cmd)
			return o.init(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&o.online, "online", "", "file with the fleet's public keys, in place of asking the fleet")
	return cmd
}

func (o *keysOptions) keys() *keyDir {
	return &keyDir{o.dir, &passphrases{o.prompt, o.passphrase}}
}

// repository is where to publish; nil with --no-upload.
func (o *keysOptions) repository() (repository, error) {
	switch {
	case o.repo != "":
		return newFolderRepo(o.repo, o.dir), nil
	case o.noUpload:
		return nil, nil
	}
	return newFleetRepo()
}

// onlineKeys are the public keys that the root shall name for snapshot and
// timestamp.
func (o *keysOptions) onlineKeys(ctx context.Context, r repository, next bool) (k publish.OnlineKeys, err error) {
	if o.online == "" {
		if r == nil {
			return k, cli.Usage("--no-upload: where are the fleet's public keys? Give --online with the file that GET /v1/updates/keys gave")
		}
		return r.onlineKeys(ctx, next)
	}
	text, err := readSmall(o.online, maxSmallText)
	if err != nil {
		return k, fmt.Errorf("read the fleet's keys: %w", err)
	}
	if err := json.Unmarshal(text, &k); err != nil || k.Snapshot == nil || k.Timestamp == nil {
		return k, fmt.Errorf("read the fleet's keys: %s doesn't hold a key for snapshot and one for timestamp", o.online)
	}
	return k, nil
}

func (o *keysOptions) init(ctx context.Context) error {
	d := o.keys()
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return fmt.Errorf("make the keys: %w", err)
	}
	if entries, err := os.ReadDir(d.path); err != nil {
		return fmt.Errorf("make the keys: %w", err)
	} else if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return rootFile.MatchString(e.Name()) }) {
		return fmt.Errorf("make the keys: %s has keys already; sightline keys rotate changes one", d.path)
	}
	r, err := o.repository()
	if err != nil {
		return err
	}
	roles := publish.Roles{}
	if roles.Online, err = o.onlineKeys(ctx, r, false); err != nil {
		return err
	}
	var made []*publish.Key
	for _, name := range append(slices.Clone(rootNames), targetsName) {
		k, err := o.makeKey(ctx, d, name, keySuffix)
		if err != nil {
			return err
		}
		made = append(made, k)
	}
	for _, k := range made[:3] {
		roles.Root = append(roles.Root, k.Public())
	}
	targetsKey := made[3]
	roles.Targets = targetsKey.Public()
	root, err := publish.NewRoot(roles, time.Now().Add(publish.RootLife), made[:publish.RootThreshold]...)
	if err != nil {
		return err
	}
	if err := d.keepRoot(root); err != nil {
		return err
	}
	// Empty targets, so that devices can refresh from the first day.
	targets, err := publish.RenewTargets(nil, root, time.Now().Add(publish.TargetsLife), targetsKey)
	if err != nil {
		return err
	}
	if err := whole.Write(d.file(targetsRecord), targets, 0o644); err != nil {
		return err
	}
	if r != nil {
		if err := upload(ctx, r, root, targets); err != nil {
			return fmt.Errorf("%w; the keys are in %s; send the root again with sightline keys sign %s", err, d.path, d.file("1.root.json"))
		}
	}
	return o.tell(root, r)
}

// makeKey makes a key and its file. A file of an attempt that was cut before
// the root was made is in the way; the error of WriteFile says so.
func (o *keysOptions) makeKey(ctx context.Context, d *keyDir, name, suffix string) (*publish.Key, error) {
	pass, err := d.pass.made(ctx, name)
	if err != nil {
		return nil, err
	}
	k, err := publish.NewKey()
	if err != nil {
		return nil, err
	}
	if plainKeys {
		pass = nil
	}
	return k, k.WriteFile(d.file(name+suffix), pass)
}

// plainKeys leaves keys unencrypted. Only tests set it: each key that is
// encrypted or opened takes a fifth of a second.
var plainKeys bool

func upload(ctx context.Context, r repository, root, targets []byte) error {
	if err := r.putRoot(ctx, root); err != nil {
		return err
	}
	if targets == nil {
		return nil
	}
	return r.putTargets(ctx, targets)
}

// tell says which root is valid now.
func (o *keysOptions) tell(root []byte, r repository) error {
	about, err := trust.Inspect(root)
	if err != nil {
		return err
	}
	if o.json {
		return asJSON(o.prompt.out, struct {
			Root        int64     `json:"root"`
			Fingerprint string    `json:"fingerprint"`
			Expires     time.Time `json:"expires"`
		}{about.Version, about.Fingerprint, about.Expires})
	}
	where := "not sent anywhere yet"
	if r != nil {
		where = "sent to " + r.name()
	}
	fmt.Fprintf(o.prompt.out, "root %d, good until %s, %s\n  fingerprint %s\n", about.Version, about.Expires.Format(time.DateOnly), where, about.Fingerprint)
	return nil
}

func newKeysShow(o *keysOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "show which keys the root names, and which of them are here",
		Args:  cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.prompt = newPrompt(cmd)
			return o.show(cmd.OutOrStdout())
		},
	}
}

// shownKey is a key that the root names.
type shownKey struct {
	Role string `json:"role"`
	ID   string `json:"id"`
	File string `json:"file,omitempty"` // in the folder; "" where it isn't here
}

func (o *keysOptions) show(out io.Writer) error {
	d := o.keys()
	root, err := d.newestRoot()
	if err != nil {
		return err
	}
	about, err := trust.Inspect(root)
	if err != nil {
		return err
	}
	roles, err := publish.RolesOf(root)
	if err != nil {
		return err
	}
	have, err := d.have()
	if err != nil {
		return err
	}
	if k, err := publish.ReadKeyFile(d.file(targetsName + keySuffix)); err == nil {
		have[targetsName+keySuffix] = k
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var all []shownKey
	add := func(role string, k *publish.PublicKey) {
		s := shownKey{Role: role, ID: publish.ID(k)}
		for file, f := range have {
			if f.ID == s.ID {
				s.File = file
			}
		}
		all = append(all, s)
	}
	for _, k := range roles.Root {
		add("root", k)
	}
	add("targets", roles.Targets)
	add("snapshot", roles.Online.Snapshot)
	add("timestamp", roles.Online.Timestamp)
	if o.json {
		return asJSON(out, struct {
			Root        int64      `json:"root"`
			Fingerprint string     `json:"fingerprint"`
			Expires     time.Time  `json:"expires"`
			Threshold   int        `json:"threshold"`
			Keys        []shownKey `json:"keys"`
		}{about.Version, about.Fingerprint, about.Expires, about.Threshold, all})
	}
	fmt.Fprintf(out, "root %d, good until %s, signed by %d of %d\n  fingerprint %s\n", about.Version, about.Expires.Format(time.DateOnly), about.Threshold, len(roles.Root), about.Fingerprint)
	tab := table{head: []string{"ROLE", "KEY", "HERE"}}
	for _, k := range all {
		tab.add(k.Role, k.ID[:16], k.File)
	}
	if err := tab.write(out); err != nil {
		return err
	}
	if left := time.Until(about.Expires); left < 90*24*time.Hour {
		fmt.Fprintf(out, "the root ends in %d days: run sightline keys renew before, or no device takes updates any more\n", int(left.Hours()/24))
	}
	return nil
}

// follow brings the root to the newest that the repository has, and completes
// what a rotation that was cut has left.
func (d *keyDir) follow(ctx context.Context, src mirror.Source) ([]byte, error) {
	root, err := d.newestRoot()
	if err == nil {
		err = d.promote(root)
	}
	for err == nil && src != nil {
		var v int64
		if v, err = publish.VersionOf(root); err != nil {
			break
		}
		next, got := src.Metadata(ctx, fmt.Sprintf("%d.root.json", v+1), trust.MaxRoot)
		if errors.Is(got, mirror.ErrMissing) {
			break
		}
		if err = got; err != nil {
			break
		}
		if err = publish.CheckRoot(root, next); err == nil {
			root, err = next, d.keepRoot(next)
		}
	}
	return root, err
}
