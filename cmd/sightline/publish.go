package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/mirror"
	"github.com/sightline-edge/sightline/updater/publish"
	"github.com/sightline-edge/sightline/updater/trust"
)

func newPublish() *cobra.Command {
	var o keysOptions
	cmd := &cobra.Command{
		Use:   "publish BUNDLE.slb",
		Short: "sign a bundle and send it to the fleet",
		Long: `publish verifies a bundle, signs it with the targets key and sends both to the
fleet that you are logged in to. From then on devices may install it; which of
them do, and when, a rollout says (sightline rollout start).

With --out it also writes a folder with the metadata and the bundle, for a USB
stick. With --repo it publishes to such a folder alone, without a fleet; then
the keys of snapshot and timestamp lie in the folder of keys, under online.`,
		Example: `  sightline publish caps-1.2.0.slb --keys sightline-keys
  sightline publish caps-1.2.0.slb --keys sightline-keys --out /media/stick
  sightline publish list
  sightline publish remove caps 1.2.0`,
		Args: bundleArg("BUNDLE.slb", "sightline publish caps-1.2.0.slb"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.prompt = newPrompt(cmd)
			return o.publish(cmd.Context(), args[0])
		},
	}
	f := cmd.PersistentFlags()
	f.StringVar(&o.dir, "keys", defaultKeys, "folder of the keys")
	f.StringVar(&o.repo, "repo", "", "publish to this folder, without a fleet")
	f.StringVar(&o.passphrase, "passphrase-file", "", "file whose first line opens the key, in place of asking")
	f.BoolVar(&o.json, "json", false, "print the result for programs")
	cmd.Flags().StringVar(&o.out, "out", "", "also write metadata and bundle to this folder")
	cmd.AddCommand(&cobra.Command{
		Use: "list", Short: "list what is published", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.prompt = newPrompt(cmd)
			return o.list(cmd.Context())
		},
	}, &cobra.Command{
		Use: "remove NAME VERSION", Short: "take a bundle back: no device installs it from then on",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return cli.Usage("takes a name and a version, as in: sightline publish remove caps 1.2.0")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.prompt = newPrompt(cmd)
			path := bundle.TargetPath(args[0], args[1])
			return o.change(cmd.Context(), path+" is published no longer", func(now, root []byte, k *publish.Key) ([]byte, error) {
				return publish.RemoveTarget(now, root, path, time.Now().Add(publish.TargetsLife), k)
			})
		},
	}, &cobra.Command{
		Use: "renew", Short: "sign what is published anew: a new date, or a new key", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.prompt = newPrompt(cmd)
			return o.change(cmd.Context(), "what is published is signed anew", func(now, root []byte, k *publish.Key) ([]byte, error) {
				return publish.RenewTargets(now, root, time.Now().Add(publish.TargetsLife), k)
			})
		},
	})
	return cmd
}

// describeBundle reads a bundle through and says what its target is.
func describeBundle(path string) (*trust.Target, *bundle.Archive, error) {
	a, err := bundle.Open(path)
	if err != nil {
		return nil, nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("publish: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	list, err := bundle.Pieces(io.TeeReader(f, sum))
	if err != nil {
		return nil, nil, fmt.Errorf("publish %s: %w", path, err)
	}
	t := &trust.Target{
		Path: bundle.TargetPath(a.Manifest().Name, a.Manifest().Version), Length: a.Size(), SHA256: [32]byte(sum.Sum(nil)),
		Piece: bundle.PieceSize, Pieces: sha256.Sum256(list),
	}
	if hex.EncodeToString(t.SHA256[:]) != a.Digest() {
		return nil, nil, fmt.Errorf("publish %s: it changed while it was read", path)
	}
	t.Hashes = map[string][]byte{"sha256": t.SHA256[:]}
	return t, a, nil
}

func (o *keysOptions) publish(ctx context.Context, path string) error {
	t, a, err := describeBundle(path)
	if err != nil {
		return err
	}
	var r repository
	done := func(now, root []byte, k *publish.Key) ([]byte, error) {
		targets, err := publish.AddTarget(now, root, t.Path, t.Length, t.SHA256, t.Pieces, time.Now().Add(publish.TargetsLife), k)
		if err != nil {
			return nil, err
		}
		if r, err = o.repository(); err != nil {
			return nil, err
		}
		bar := cli.NewProgress(o.prompt.err, "sending", t.Length)
		defer bar.Done()
		return targets, r.putBundle(ctx, path, t, bar)
	}
	m := a.Manifest()
	said := fmt.Sprintf("published %s %s as %s\n  sha256 %s, %d bytes", m.Name, m.Version, t.Path, a.Digest(), t.Length)
	if err := o.change(ctx, said, done); err != nil || o.out == "" {
		return err
	}
	return o.copyOut(ctx, r, path, t)
}

// change signs and publishes new targets.
func (o *keysOptions) change(ctx context.Context, said string, next func(now, root []byte, k *publish.Key) ([]byte, error)) error {
	d := o.keys()
	r, err := o.repository()
	if err != nil {
		return err
	}
	root, err := d.follow(ctx, r)
	if err != nil {
		return err
	}
	now, err := currentTargets(ctx, d, r, root)
	if err != nil {
		return err
	}
	k, err := d.pass.open(ctx, d.file(targetsName+keySuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: say with --keys where the targets key is", err)
	}
	if errors.Is(err, errSkipped) {
		return errors.New("the targets key was left out: nothing was signed or sent")
	}
	if err != nil {
		return err
	}
	targets, err := next(now, root, k)
	if err != nil {
		return err
	}
	if err := o.keepTargets(ctx, d, r, targets); err != nil {
		return err
	}
	v, err := publish.VersionOf(targets)
	if err != nil {
		return err
	}
	if o.json {
		return asJSON(o.prompt.out, struct {
			Targets int64 `json:"targets"`
		}{v})
	}
	fmt.Fprintf(o.prompt.out, "%s\n  in targets %d, sent to %s\n", said, v, r.name())
	return nil
}

// currentTargets are those that a device would see now; nil where nothing was
// published yet. A repository that shows older ones than were published from
// this folder is refused, so that nobody signs them anew.
func currentTargets(ctx context.Context, d *keyDir, r repository, root []byte) ([]byte, error) {
	record, err := os.ReadFile(d.file(targetsRecord))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read what was published: %w", err)
	}
	if r == nil {
		return record, nil
	}
	dir, err := os.MkdirTemp("", "sightline-")
	if err != nil {
		return nil, fmt.Errorf("read what is published: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := mirror.Pin(dir, root); err != nil {
		return nil, err
	}
	m, err := mirror.Open(dir)
	if err != nil {
		return nil, err
	}
	err = m.RefreshAt(ctx, r, time.Now())
	var refusal *trust.Refusal
	if errors.As(err, &refusal) {
		switch {
		case record == nil && refusal.Code == trust.Absent && refusal.File == trust.TimestampFile:
			return nil, nil
		case record != nil && (refusal.Code == trust.Absent && refusal.File == trust.TimestampFile || strings.HasSuffix(refusal.File, trust.TargetsFile)):
			return record, nil // the root has a new targets key, say
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read what is published at %s: %w", r.name(), err)
	}
	seen, err := os.ReadFile(filepath.Join(dir, trust.TargetsFile))
	if err != nil {
		return nil, fmt.Errorf("read what is published: %w", err)
	}
	if record != nil {
		a, errA := publish.VersionOf(seen)
		b, errB := publish.VersionOf(record)
		if err := errors.Join(errA, errB); err != nil {
			return nil, err
		}
		if a < b {
			return nil, fmt.Errorf("read what is published at %s: it shows targets %d, and targets %d were published from here: it was set back, or somebody holds the newer ones away", r.name(), a, b)
		}
	}
	return seen, nil
}

// list needs no keys. Where the folder of keys has a root, what the repository
// says is verified by it.
func (o *keysOptions) list(ctx context.Context) error {
	d := o.keys()
	r, err := o.repository()
	if err != nil {
		return err
	}
	root, err := d.follow(ctx, r)
	if errors.Is(err, fs.ErrNotExist) {
		root, err = r.Metadata(ctx, "1."+trust.RootFile, trust.MaxRoot)
		if errors.Is(err, mirror.ErrMissing) {
			return fmt.Errorf("nothing is published at %s: there are no keys yet; sightline keys init makes them", r.name())
		}
		if err == nil {
			fmt.Fprintf(o.prompt.err, "there is no root in %s: this is what %s says of itself\n", d.path, r.name())
		}
	}
	if err != nil {
		return err
	}
	now, err := currentTargets(ctx, d, r, root)
	if err != nil {
		return err
	}
	type row struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		SHA256  string `json:"sha256"`
		Bytes   int64  `json:"bytes"`
	}
	rows := []row{}
	if now != nil {
		all, err := publish.List(now)
		if err != nil {
			return err
		}
		for _, p := range all {
			rows = append(rows, row{p.Name, p.Version, hex.EncodeToString(p.SHA256[:]), p.Length})
		}
	}
	if o.json {
		return asJSON(o.prompt.out, struct {
			Bundles []row `json:"bundles"`
		}{rows})
	}
	tab := table{head: []string{"NAME", "VERSION", "BYTES", "SHA-256"}}
	for _, p := range rows {
		tab.add(p.Name, p.Version, fmt.Sprint(p.Bytes), p.SHA256)
	}
	return tab.write(o.prompt.out)
}

// copyOut writes a repository of files that a device takes from a USB stick:
// all roots, so that one that was off for long finds its way, and what is
// valid now.
func (o *keysOptions) copyOut(ctx context.Context, r repository, path string, t *trust.Target) error {
	to := newFolderRepo(o.out, o.dir)
	root, err := o.keys().newestRoot()
	if err != nil {
		return err
	}
	newest, err := publish.VersionOf(root)
	if err != nil {
		return err
	}
	copyOne := func(name string, most int64) ([]byte, error) {
		data, err := r.Metadata(ctx, name, most)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", o.out, err)
		}
		return data, to.put(name, data)
	}
	for v := int64(1); v <= newest; v++ {
		if _, err := copyOne(fmt.Sprintf("%d.%s", v, trust.RootFile), trust.MaxRoot); err != nil {
			return err
		}
	}
	stamp, err := copyOne(trust.TimestampFile, trust.MaxTimestamp)
	if err != nil {
		return err
	}
	v, err := metaVersion(stamp, trust.SnapshotFile)
	if err != nil {
		return err
	}
	snap, err := copyOne(v+"."+trust.SnapshotFile, trust.MaxSnapshot)
	if err != nil {
		return err
	}
	if v, err = metaVersion(snap, trust.TargetsFile); err != nil {
		return err
	}
	if _, err := copyOne(v+"."+trust.TargetsFile, trust.MaxTargets); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("write %s: %w", o.out, err)
	}
	defer f.Close()
	if err := storeTarget(o.out, f, t); err != nil {
		return err
	}
	ends, err := publish.Expires(stamp)
	if err == nil && !o.json {
		fmt.Fprintf(o.prompt.out, "%s: devices take it until %s\n", o.out, ends.Format(time.RFC3339))
	}
	return err
}
