package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/modelfile"
	"github.com/sightline-edge/sightline/internal/web"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision/infer"
)

func newBundleShow() *cobra.Command {
	var asText bool
	cmd := &cobra.Command{
		Use:   "show ARCHIVE|DIR",
		Short: "tell what a bundle is and holds",
		Long: `show tells what a bundle is and holds. An archive is checked as a device checks
it, and has a digest, by which a bundle is known everywhere; a folder has none
before it is packed.`,
		Example: "  sightline bundle show caps-1.2.0.slb\n  sightline bundle show caps-1.2.0.slb --json | jq -r .digest",
		Args:    bundleArg("a bundle's archive or folder", "show caps-1.2.0.slb"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := showBundle(args[0])
			if err != nil {
				return err
			}
			if asText {
				return asJSON(cmd.OutOrStdout(), s)
			}
			return s.write(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asText, "json", false, "print one JSON object")
	return cmd
}

// shown is show's JSON.
type shown struct {
	Digest   string          `json:"digest,omitempty"` // SHA-256 of the archive
	Size     int64           `json:"size,omitempty"`   // of the archive, bytes
	Target   string          `json:"target"`           // its path in the signed repository
	Manifest json.RawMessage `json:"manifest"`         // as it stands in the bundle
	Model    *shownModel     `json:"model"`            // null if the file can't be read
	Golden   *shownGolden    `json:"golden"`           // null without golden vectors
	Files    []shownFile     `json:"files"`

	manifest *bundle.Manifest
	why      error // that the model can't be read
}

type shownFile struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// shownModel is what the model's file tells of itself.
type shownModel struct {
	Family   string        `json:"family"` // "" where the file leaves it open
	Why      string        `json:"why"`    // what shows the family, or why it can't be told
	Inputs   []shownTensor `json:"inputs"`
	Outputs  []shownTensor `json:"outputs"`
	Labels   []string      `json:"labels"`
	Licence  string        `json:"licence"`
	Producer string        `json:"producer"`
	Opset    int64         `json:"opset"` // version of ONNX's operators
	Fed      string        `json:"fed"`   // the pre-processing, as a manifest has it; "" if the manifest can't be followed
}

type shownTensor struct {
	Name  string  `json:"name"`
	Type  string  `json:"type"`
	Shape []int64 `json:"shape"` // -1 where it is open
}

type shownGolden struct {
	Recorded  bundle.Recorded  `json:"recorded"`
	Tolerance bundle.Tolerance `json:"tolerance"`
	Measured  *bundle.Measured `json:"measured,omitempty"` // absent where the tolerances were chosen by hand
	Pictures  int              `json:"pictures"`
	Verdicts  map[string]int   `json:"verdicts"`
	Raw       bool             `json:"raw"` // raw outputs were recorded
}

func showBundle(path string) (*shown, error) {
	b, err := open(path)
	if err != nil {
		return nil, err
	}
	defer b.close()
	s := &shown{Files: []shownFile{}}
	if s.manifest, err = bundle.Read(b.fsys); err != nil {
		return nil, fmt.Errorf("%s: %w; sightline bundle lint tells all that is wrong", path, err)
	}
	text, err := fs.ReadFile(b.fsys, bundle.ManifestFile)
	if err == nil {
		s.Manifest, err = yaml.YAMLToJSON(text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", path, bundle.ManifestFile, err)
	}
	files, err := bundle.List(b.fsys)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, f := range files {
		s.Files = append(s.Files, shownFile{f.Path, f.Size, fmt.Sprintf("%x", f.SHA256)})
	}
	if b.archive != nil {
		s.Digest, s.Size = b.archive.Digest(), b.archive.Size()
	}
	s.Target = bundle.TargetPath(s.manifest.Name, s.manifest.Version)
	s.describe(b.fsys)
	return s, s.golden(b.fsys)
}

// describe reads the model; one that can't be read is still shown.
func (s *shown) describe(fsys fs.FS) {
	data, err := fs.ReadFile(fsys, s.manifest.Model.File)
	if err == nil {
		data, err = modelfile.Whole(fsys, s.manifest.Model.File, data)
	}
	var info infer.Info
	if err == nil {
		info, err = infer.Describe(data)
	}
	if err != nil {
		s.why = err
		return
	}
	tensors := func(from []infer.Tensor) []shownTensor {
		all := []shownTensor{}
		for _, t := range from {
			all = append(all, shownTensor{t.Name, t.Type, t.Shape})
		}
		return all
	}
	s.Model = &shownModel{string(info.Family), info.Why, tensors(info.Inputs), tensors(info.Outputs), info.Labels, info.License, info.Producer, info.Opset, ""}
	if spec, err := info.Spec(modelfile.Options(s.manifest.Model)); err == nil { // lint tells what is wrong
		s.Model.Fed = spec.Input.Line()
	}
}

func (s *shown) golden(fsys fs.FS) error {
	if s.manifest.Golden == "" {
		return nil
	}
	g, err := bundle.ReadGolden(fsys)
	if err != nil {
		return err
	}
	s.Golden = &shownGolden{Recorded: g.Recorded, Tolerance: g.Tolerance, Measured: g.Measured, Pictures: len(g.Vectors), Verdicts: map[string]int{}}
	for _, v := range g.Vectors {
		s.Golden.Verdicts[v.Verdict]++
		s.Golden.Raw = s.Golden.Raw || len(v.Outputs) > 0
	}
	return nil
}

func (s *shown) write(w io.Writer) error {
	var b strings.Builder
	line := func(key, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s %s\n", key, clean(fmt.Sprintf(format, args...)))
	}
	m := s.manifest
	line("bundle", "%s %s", m.Name, m.Version)
	if s.Digest != "" {
		line("digest", "sha256 %s", s.Digest)
		line("size", "%s bytes", web.Count(int(s.Size)))
	}
	line("target", "%s", s.Target)
	line("licence", "%s", orDash(m.Licence))
	if s.Model != nil && s.Model.Licence != "" {
		line("", "the model's metadata: %s", s.Model.Licence)
	}
	line("model", "%s, family %s, sha256 %s", m.Model.File, m.Model.Family, m.Model.SHA256)
	if s.Model == nil {
		line("", "%v", s.why)
	} else {
		if s.Model.Why != "" {
			line("", "%s: %s", cmp.Or(s.Model.Family, "no family"), s.Model.Why)
		}
		for _, t := range s.Model.Inputs {
			line("input", "%v", infer.Tensor(t))
		}
		if s.Model.Fed != "" {
			line("", "fed: %s", s.Model.Fed)
		}
		for _, t := range s.Model.Outputs {
			line("output", "%v", infer.Tensor(t))
		}
	}
	for _, role := range []string{"part", "defect", "ignored"} {
		var names []string
		for _, l := range m.Model.Labels {
			if l.Role == role {
				names = append(names, l.Name)
			}
		}
		if len(names) > 0 {
			line(role+"s", "%s", listed(names))
		}
	}
	line("rule", "%s", orDash(m.Rule.Spec()))
	line("card", "%s", orDash(m.Card))
	s.writeGolden(line)
	for i, f := range s.Files {
		key := ""
		if i == 0 {
			key = "files"
		}
		line(key, "%s %12s  %s", f.SHA256[:16], web.Count(int(f.Size)), f.Path)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *shown) writeGolden(line func(key, format string, args ...any)) {
	g := s.Golden
	if g == nil {
		line("golden", "none: a device can't prove that the model works on its hardware")
		return
	}
	line("golden", "%s: %d PASS, %d FAIL, %d NONE; recorded on %s %s with ONNX Runtime %s",
		several(g.Pictures, "picture"), g.Verdicts["PASS"], g.Verdicts["FAIL"], g.Verdicts["NONE"], g.Recorded.Provider, g.Recorded.Precision, g.Recorded.Runtime)
	raw := "no raw outputs"
	if g.Raw {
		raw = fmt.Sprintf("raw outputs ± %.3g of the largest", g.Tolerance.Raw)
	}
	line("", "scores ± %.3g, overlap of boxes at least %.3g, %s", g.Tolerance.Score, g.Tolerance.IoU, raw)
	for _, text := range g.Measured.Lines() {
		line("", "%s", text)
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
