package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/internal/whole"
	"github.com/sightline-edge/sightline/updater/mirror"
	"github.com/sightline-edge/sightline/updater/transfer"
	"github.com/sightline-edge/sightline/updater/trust"
)

// trustOptions are the flags of trust and its commands.
type trustOptions struct {
	at, metadataDir, metadataURL string
	targets                      []string
	targetBase, targetDir        string
	json                         bool
}

func newTrust() *cobra.Command {
	var o trustOptions
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "do what a device does before it believes an update",
		Long: `trust is the device's own verification of update metadata (TUF), as a program
for people: it keeps a folder of metadata, refreshes it from a web server or a
folder such as a USB stick, and fetches targets. What a device would refuse, it
refuses with the same words.

The time is this machine's, floored at the last refresh that succeeded. With --at
it is the one that you give, and nothing is remembered.`,
		Example: `  sightline trust --metadata-dir m init 1.root.json
  sightline trust --metadata-dir m --metadata-url /media/stick/metadata refresh
  sightline trust --metadata-dir m --metadata-url https://repo.example/metadata \
    --target-name bundles/caps/1.2.0.slb --target-base-url https://repo.example/targets --target-dir t download`,
	}
	f := cmd.PersistentFlags()
	f.StringVar(&o.at, "at", "", "time by which expiry is measured, as 2031-01-02T15:04:05Z; default now")
	f.StringVar(&o.metadataDir, "metadata-dir", "", "folder that keeps the trusted metadata")
	f.StringVar(&o.metadataURL, "metadata-url", "", "where the metadata is: an address, or a folder")
	f.StringArrayVar(&o.targets, "target-name", nil, "path of a target; may repeat")
	f.StringVar(&o.targetBase, "target-base-url", "", "where the targets are: an address, or a folder")
	f.StringVar(&o.targetDir, "target-dir", "", "folder to put verified targets into")
	f.BoolVar(&o.json, "json", false, "print the versions for programs")
	cmd.AddCommand(&cobra.Command{
		Use: "init ROOT", Short: "pin a root: everything is believed by it from then on",
		Args: bundleArg("ROOT", "sightline trust --metadata-dir m init 1.root.json"),
		RunE: func(cmd *cobra.Command, args []string) error { return o.init(args[0]) },
	}, &cobra.Command{
		Use: "show", Short: "show which root is pinned",
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.show(cmd.OutOrStdout()) },
	}, &cobra.Command{
		Use: "refresh", Short: "bring the metadata up to date, or say what is wrong with it",
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.refresh(cmd.Context(), cmd.OutOrStdout()) },
	}, &cobra.Command{
		Use: "download", Short: "refresh, then fetch and verify targets",
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.download(cmd.Context(), cmd.OutOrStdout()) },
	})
	return cmd
}

func (o *trustOptions) init(root string) error {
	if err := cli.Required("metadata-dir", o.metadataDir, "metadata"); err != nil {
		return err
	}
	data, err := readSmall(root, trust.MaxRoot)
	if err != nil {
		return fmt.Errorf("pin the root: %w", err)
	}
	return mirror.Pin(o.metadataDir, data)
}

// show also serves on a device's own folder: it only reads.
func (o *trustOptions) show(out io.Writer) error {
	if err := cli.Required("metadata-dir", o.metadataDir, "metadata"); err != nil {
		return err
	}
	root, err := os.ReadFile(filepath.Join(o.metadataDir, trust.RootFile))
	if err != nil {
		return fmt.Errorf("show the root: %w", err)
	}
	about, err := trust.Inspect(root)
	if err != nil {
		return fmt.Errorf("show the root: %w", err)
	}
	if o.json {
		return asJSON(out, struct {
			Root        int64     `json:"root"`
			Fingerprint string    `json:"fingerprint"`
			Expires     time.Time `json:"expires"`
		}{about.Version, about.Fingerprint, about.Expires})
	}
	fmt.Fprintf(out, "root %d, good until %s\n  fingerprint %s\n", about.Version, about.Expires.Format(time.DateOnly), about.Fingerprint)
	return nil
}

func (o *trustOptions) refresh(ctx context.Context, out io.Writer) error {
	m, _, err := o.refreshed(ctx)
	if err != nil {
		return err
	}
	v := m.Versions()
	if o.json {
		return asJSON(out, struct {
			Versions map[string]int64 `json:"versions"`
			Ends     time.Time        `json:"ends"`
		}{v, m.Ends()})
	}
	fmt.Fprintf(out, "root %d, timestamp %d, snapshot %d, targets %d; good until %s\n",
		v[trust.RootFile], v[trust.TimestampFile], v[trust.SnapshotFile], v[trust.TargetsFile], m.Ends().Format(time.RFC3339))
	return nil
}

// refreshed opens the folder and refreshes it.
func (o *trustOptions) refreshed(ctx context.Context) (*mirror.Mirror, mirror.Source, error) {
	if err := cli.Required("metadata-dir", o.metadataDir, "metadata"); err != nil {
		return nil, nil, err
	}
	if err := cli.Required("metadata-url", o.metadataURL, "https://repo.example/metadata"); err != nil {
		return nil, nil, err
	}
	m, err := mirror.Open(o.metadataDir)
	if errors.Is(err, mirror.ErrNoRoot) {
		return nil, nil, fmt.Errorf("there is no root in %s: pin one with sightline trust init", o.metadataDir)
	}
	if err != nil {
		return nil, nil, err
	}
	src := mirror.Folder(o.metadataURL)
	if isURL(o.metadataURL) {
		src = mirror.HTTP(o.metadataURL, nil)
	}
	if o.at == "" {
		return m, src, m.Refresh(ctx, src, time.Now())
	}
	at, err := time.Parse(time.RFC3339, o.at)
	if err != nil {
		return nil, nil, cli.Usage("--at %q is no time, as in: --at 2031-01-02T15:04:05Z", o.at)
	}
	return m, src, m.RefreshAt(ctx, src, at)
}

func isURL(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}

func (o *trustOptions) download(ctx context.Context, out io.Writer) error {
	if len(o.targets) == 0 {
		return cli.Usage("--target-name is missing, as in: --target-name bundles/caps/1.2.0.slb")
	}
	if err := cli.Required("target-base-url", o.targetBase, "https://repo.example/targets"); err != nil {
		return err
	}
	if err := cli.Required("target-dir", o.targetDir, "targets"); err != nil {
		return err
	}
	m, src, err := o.refreshed(ctx)
	if err != nil {
		return err
	}
	for _, name := range o.targets {
		t, err := m.Target(ctx, src, name)
		if err != nil {
			return err
		}
		path := filepath.Join(o.targetDir, url.QueryEscape(name))
		if has(path, t) {
			fmt.Fprintf(out, "%s is there already\n", path)
			continue
		}
		from := t.Path
		if m.Consistent() {
			from = t.Stored()
		}
		if err := o.fetch(ctx, t, from, path); err != nil {
			return fmt.Errorf("download %s: %w", name, err)
		}
		fmt.Fprintf(out, "%s: %d bytes, verified\n", path, t.Length)
	}
	return nil
}

// has says whether the file is there and is the target.
func has(path string, t *trust.Target) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return t.Copy(io.Discard, f) == nil
}

// fetch puts a target at path, verified, or nothing.
func (o *trustOptions) fetch(ctx context.Context, t *trust.Target, from, path string) error {
	body, err := o.open(ctx, from)
	if err != nil {
		return err
	}
	defer body.Close()
	f, err := whole.New(path, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := t.Copy(f, body); err != nil {
		return err
	}
	return f.Commit()
}

func (o *trustOptions) open(ctx context.Context, from string) (io.ReadCloser, error) {
	if !isURL(o.targetBase) {
		if !fs.ValidPath(from) {
			return nil, fmt.Errorf("%q leads out of the folder", from)
		}
		return os.Open(filepath.Join(o.targetBase, filepath.FromSlash(from)))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(o.targetBase, "/")+"/"+(&url.URL{Path: from}).EscapedPath(), nil)
	if err != nil {
		return nil, err
	}
	answer, err := transfer.Do(http.DefaultClient, r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, fmt.Errorf("get %s: %s", r.URL, answer.Status)
	}
	return answer.Body, nil
}
