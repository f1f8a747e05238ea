package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/gate"
	"github.com/sightline-edge/sightline/vision/track"
)

// goldenOptions are the flags of golden.
type goldenOptions struct {
	pictures  []string
	tolerance bundle.Tolerance
	config    string
	threads   int
	json      bool
}

func newGolden() *cobra.Command {
	var o goldenOptions
	cmd := &cobra.Command{
		Use:   "golden DIR --pictures FILE…",
		Short: "record the golden vectors of a bundle's folder",
		Long: `golden runs the model and rule of a bundle's folder on pictures and records what
comes out in DIR/golden/expected.json, with copies of the pictures beside it. A
device lets the bundle serve only if it sees the same there, within the
tolerances (docs/golden-gate.md, which also tells how to choose pictures).

A picture whose outcome hangs on a score within the tolerance is refused, since
another device might rightly decide otherwise. What was recorded before is
replaced.`,
		Example: `  sightline-agent golden caps/ --pictures good1.jpg good2.jpg scratch.jpg dent.jpg
  sightline-agent golden caps/ --pictures chosen/ --tolerance-score 0.01`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cli.Usage("the bundle's folder is missing, as in: golden caps/ --pictures chosen/")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.pictures = append(o.pictures, args[1:]...) // --pictures a.jpg b.jpg
			return o.run(cmd, args[0])
		},
	}
	t := gate.DefaultTolerance
	f := cmd.Flags()
	f.StringArrayVar(&o.pictures, "pictures", nil, "folder of pictures, or picture; more may follow")
	f.Float32Var(&o.tolerance.Score, "tolerance-score", t.Score, "how far a score may be from the recorded one")
	f.Float32Var(&o.tolerance.IoU, "tolerance-iou", t.IoU, "how far at least a box must overlap the recorded one")
	f.Float32Var(&o.tolerance.Raw, "tolerance-raw", t.Raw, "how far a raw value may be, relative to the output's largest")
	f.StringVar(&o.config, "config", "", "configuration whose section infer is used: ONNX Runtime and threads")
	f.IntVar(&o.threads, "threads", 0, "processor threads of the model; 0: the configuration's, 1")
	f.BoolVar(&o.json, "json", false, "print one JSON object")
	return cmd
}

func (o *goldenOptions) run(cmd *cobra.Command, dir string) error {
	if len(o.pictures) == 0 {
		return cli.Usage("--pictures is missing, as in: --pictures chosen/")
	}
	if err := o.tolerance.Check(); err != nil {
		return cli.Usage("%v", err)
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return fmt.Errorf("record golden pictures: %s is no folder: unpack an archive first, or name the bundle's folder", dir)
	}
	files, err := pictureFiles(o.pictures)
	if err != nil {
		return err
	}
	pictures, names := inBundle(dir, files)
	made, threads, err := inferSettings(cmd, o.config, o.threads)
	if err != nil {
		return err
	}
	defer made.close(context.WithoutCancel(cmd.Context()))
	c, err := choose(modelOptions{model: dir})
	if err != nil {
		return err
	}
	subject, err := made.subject(cmd.Context(), track.Pictures, c, threads)
	if err != nil {
		return err
	}
	var g *bundle.Golden
	err = withWorker(cmd.Context(), subject, func(ctx context.Context) error {
		var err error
		g, err = gate.Record(ctx, subject, pictures, names, o.tolerance)
		return err
	})
	if err != nil {
		return err
	}
	if err := pictures.keep(dir, g); err != nil {
		return fmt.Errorf("record golden pictures in %s: %w", dir, err)
	}
	return o.print(cmd, dir, g)
}

// goldenAnswer is golden's JSON.
type goldenAnswer struct {
	File string `json:"file"`
	*bundle.Golden
}

func (o *goldenOptions) print(cmd *cobra.Command, dir string, g *bundle.Golden) error {
	w := cmd.OutOrStdout()
	file := filepath.Join(dir, filepath.FromSlash(bundle.GoldenFile))
	if o.json {
		return json.NewEncoder(w).Encode(goldenAnswer{file, g})
	}
	for _, v := range g.Vectors {
		fmt.Fprintf(w, "%-40s %-4s %s, %d parts, %d detections\n", v.Picture, v.Verdict, v.Reason, len(v.Parts), len(v.Detections))
	}
	_, err := fmt.Fprintf(w, "%s: %d pictures recorded on %s %s, ONNX Runtime %s\n",
		file, len(g.Vectors), g.Recorded.Provider, g.Recorded.Precision, g.Recorded.Runtime)
	return err
}

// chosen are pictures by their paths in the bundle: where each lies now.
type chosen map[string]string

// Open opens a picture by its path in the bundle; it makes chosen an fs.FS.
func (c chosen) Open(name string) (fs.File, error) {
	file, ok := c[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return os.Open(file)
}

// inBundle gives each picture a path in the bundle, in their order: those that
// lie there keep theirs.
func inBundle(dir string, files []string) (chosen, []string) {
	c := chosen{}
	var names []string
	for _, file := range files {
		name, err := filepath.Rel(dir, file)
		if name = filepath.ToSlash(name); err != nil || bundle.CheckPath(name) != nil {
			name = path.Join(path.Dir(bundle.GoldenFile), pathName(filepath.Base(file)))
		}
		ext := path.Ext(name)
		for base, n := strings.TrimSuffix(name, ext), 2; c[name] != ""; n++ {
			name = fmt.Sprintf("%s-%d%s", base, n, ext)
		}
		c[name] = file
		names = append(names, name)
	}
	return c, names
}

// pathName makes a file's name one that may stand in a bundle.
func pathName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, name)
	if bundle.CheckPath(name) != nil {
		name = "p" + name
	}
	return name
}

// keep writes the pictures and what is expected of them into the bundle's
// folder, and names the golden file in the manifest.
func (c chosen) keep(dir string, g *bundle.Golden) error {
	var b bytes.Buffer
	if err := g.Write(&b); err != nil {
		return err
	}
	at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	if err := os.MkdirAll(filepath.Dir(at(bundle.GoldenFile)), 0o755); err != nil {
		return err
	}
	for name, file := range c {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if sameFile(file, at(name)) {
			continue
		}
		if err := os.WriteFile(at(name), data, 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(at(bundle.GoldenFile), b.Bytes(), 0o644); err != nil {
		return err
	}
	return nameGolden(at(bundle.ManifestFile))
}

func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// nameGolden adds the golden file to a manifest that doesn't name it; what
// people wrote there stays as it is.
func nameGolden(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	m, err := bundle.Parse(text)
	if err != nil || m.Golden != "" {
		return err
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	text = append(text, "golden: "+bundle.GoldenFile+"\n"...)
	if m, err := bundle.Parse(text); err != nil || m.Golden == "" {
		return errors.Join(err, fmt.Errorf("add this line to %s: golden: %s", file, bundle.GoldenFile))
	}
	return os.WriteFile(file, text, 0o644)
}
