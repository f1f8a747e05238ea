package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/internal/web"
	"github.com/sightline-edge/sightline/internal/whole"
	"github.com/sightline-edge/sightline/updater/bundle"
)

func newBundle() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "make bundles: a model with all that is needed to run it, in one file",
		Long: `bundle makes and looks into bundles. A bundle is a folder, or that folder packed
into one file (.slb), with a model, how it is read, the rule that turns what it
sees into verdicts, pictures with what is expected of them, and a model card.
Devices take the file, if it is signed and published (sightline publish).

The files of a folder are yours to edit. docs/bundles.md describes them.`,
		Example: `  # from an exported model to the file that goes to devices
  sightline bundle init caps --model best.onnx --rule 'threshold:scratch>0.5'
  sightline bundle golden caps --images chosen-pictures/
  sightline bundle lint caps
  sightline bundle pack caps -o caps-1.0.0.slb

  # what is in a file
  sightline bundle show caps-1.0.0.slb`,
	}
	cmd.AddCommand(newBundleInit(), newBundleGolden(), newBundleLint(), newBundlePack(), newBundleShow(), newBundleUnpack())
	return cmd
}

// bundleArg wants exactly one argument, a folder or an archive.
func bundleArg(what, example string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return cli.Usage("%s is missing, as in: %s", what, example)
		case len(args) > 1:
			return cli.Usage("takes one %s, got %q too", what, args[1])
		}
		return nil
	}
}

// openBundle is a bundle's folder, or an archive that was read through and
// unpacked into a scratch folder.
type openBundle struct {
	name    string // as it was given
	fsys    fs.FS
	archive *bundle.Archive // nil for a folder
	scratch string
}

func open(path string) (*openBundle, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	if st.IsDir() {
		return &openBundle{name: path, fsys: os.DirFS(path)}, nil
	}
	a, err := bundle.Open(path)
	if err != nil {
		return nil, err
	}
	o := &openBundle{name: path, archive: a}
	if o.scratch, err = os.MkdirTemp("", "sightline-"); err != nil {
		return nil, fmt.Errorf("make a scratch directory: %w: set TMPDIR to a folder with room", err)
	}
	dir := filepath.Join(o.scratch, "bundle")
	if err := unpackFile(path, dir); err != nil {
		return nil, errors.Join(err, o.close())
	}
	o.fsys = os.DirFS(dir)
	return o, nil
}

func (o *openBundle) close() error {
	if o.scratch == "" {
		return nil
	}
	return os.RemoveAll(o.scratch)
}

func unpackFile(path, dir string) error {
	f, err := bundle.OpenFile(path)
	if err != nil {
		return fmt.Errorf("unpack bundle: %w", err)
	}
	defer f.Close()
	_, err = bundle.Unpack(f, dir, bundle.Limits{})
	return err
}

func newBundleUnpack() *cobra.Command {
	return &cobra.Command{
		Use:   "unpack ARCHIVE DIR",
		Short: "write a bundle's files into a new folder",
		Long: `unpack writes a bundle's files into a folder that doesn't exist yet, and checks
them all as a device does: a bundle with links, odd names, more than it tells or
a wrong hash is refused, and nothing is left of it. It says nothing about who
made the bundle; sightline trust does.`,
		Example: "  sightline bundle unpack caps-1.2.0.slb caps/",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return cli.Usage("takes an archive and a new folder, as in: unpack caps-1.2.0.slb caps/")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := unpackFile(args[0], args[1]); err != nil {
				return err
			}
			m, err := bundle.Read(os.DirFS(args[1]))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s %s, whole\n", args[1], m.Name, m.Version)
			return err
		},
	}
}

func newBundlePack() *cobra.Command {
	var out string
	var asText bool
	cmd := &cobra.Command{
		Use:   "pack DIR",
		Short: "pack a bundle's folder into one file",
		Long: `pack checks a bundle's folder as lint does, refuses what has errors, and packs it
into one file. All files of the folder go along. The same folder gives the same
file, byte for byte, from the same version of this program.`,
		Example: "  sightline bundle pack caps\n  sightline bundle pack caps -o /srv/bundles/caps-1.2.0.slb",
		Args:    bundleArg("a bundle's folder", "pack caps/"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return packBundle(cmd, args[0], out, asText)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "out", "o", "", "file to write; default NAME-VERSION.slb here")
	f.BoolVar(&asText, "json", false, "print one JSON object")
	return cmd
}

// packed is pack's JSON.
type packed struct {
	File     string    `json:"file"`
	Digest   string    `json:"digest"` // SHA-256
	Size     int64     `json:"size"`   // bytes
	Target   string    `json:"target"` // its path in the signed repository
	Warnings []finding `json:"warnings"`
}

func packBundle(cmd *cobra.Command, dir, out string, raw bool) error {
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return fmt.Errorf("pack bundle: %s is no folder", dir)
	}
	fsys := os.DirFS(dir)
	l := lintBundle(cmd.Context(), fsys)
	if l.count(levelError) > 0 {
		if err := l.write(cmd.ErrOrStderr(), dir); err != nil {
			return err
		}
		return fmt.Errorf("pack bundle: %s has errors: correct them first", dir)
	}
	if out == "" {
		out = l.manifest.Name + "-" + l.manifest.Version + ".slb"
	}
	if inside(dir, out) {
		return fmt.Errorf("pack bundle: %s lies in the bundle's own folder: write it elsewhere, with -o", out)
	}
	p := packed{File: out, Target: bundle.TargetPath(l.manifest.Name, l.manifest.Version), Warnings: l.found}
	var err error
	if p.Digest, p.Size, err = packFile(cmd.Context(), fsys, out, 2*l.bytes(), cmd.ErrOrStderr()); err != nil {
		return err
	}
	if raw {
		return asJSON(cmd.OutOrStdout(), p)
	}
	if len(l.found) > 0 {
		if err := l.write(cmd.ErrOrStderr(), dir); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s bytes, %d files\nsha256 %s\ntarget %s\n", out, web.Count(int(p.Size)), len(l.files), p.Digest, p.Target)
	return err
}

// inside tells whether a file would lie in a folder.
func inside(dir, file string) bool {
	a, err1 := filepath.Abs(dir)
	b, err2 := filepath.Abs(file)
	rel, err3 := filepath.Rel(a, b)
	return errors.Join(err1, err2, err3) == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// packFile packs into a file that appears whole or not at all.
func packFile(ctx context.Context, fsys fs.FS, out string, total int64, tell io.Writer) (digest string, size int64, err error) {
	f, err := whole.New(out, 0o644)
	if err != nil {
		return "", 0, fmt.Errorf("pack bundle: %w", err)
	}
	defer f.Close()
	bar := cli.NewProgress(tell, "packing", total)
	digest, err = bundle.Pack(watched{ctx, fsys, bar}, f)
	bar.Done()
	st, statErr := f.Stat()
	if err = errors.Join(err, statErr); err != nil {
		return "", 0, err
	}
	if err := f.Commit(); err != nil {
		return "", 0, fmt.Errorf("pack bundle: %w", err)
	}
	return digest, st.Size(), nil
}

// fileSum is the SHA-256 of some bytes, in hex.
func fileSum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
