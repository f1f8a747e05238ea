package models_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/models"
)

const maxModel = 5_000_000 // bytes; a shipped model is part of every binary

func TestNames(t *testing.T) {
	if diff := cmp.Diff([]string{"drawn-parts", "drawn-parts-large", "pitting"}, models.Names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if _, err := fs.Stat(models.FS(), "drawn-parts/model.onnx"); err != nil {
		t.Error(err)
	}
}

func TestUnknownName(t *testing.T) {
	want := `model "drawn-part" is not one that we ship, which are: drawn-parts, drawn-parts-large, pitting`
	if _, err := models.Open("drawn-part"); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	for _, name := range []string{"", ".", "..", "drawn-parts/.."} {
		if _, err := models.Open(name); err == nil {
			t.Errorf("Open(%q) gave no error", name)
		}
	}
}

// TestShipped checks every model as a device will: the manifest reads, the
// network is the one it names, the card is there.
func TestShipped(t *testing.T) {
	for _, name := range models.Names() {
		fsys, err := models.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		m, err := bundle.Read(fsys)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		onnx, err := fs.ReadFile(fsys, m.Model.File)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(onnx)
		if got := hex.EncodeToString(sum[:]); got != m.Model.SHA256 {
			t.Errorf("%s: sha256 of %s is %s, the manifest says %s", name, m.Model.File, got, m.Model.SHA256)
		}
		if len(onnx) >= maxModel {
			t.Errorf("%s: %s has %d bytes, must be less than %d", name, m.Model.File, len(onnx), maxModel)
		}
		if m.Name != name || m.Licence == "" {
			t.Errorf("%s: the manifest's name is %q, its licence %q", name, m.Name, m.Licence)
		}
		card, err := fs.ReadFile(fsys, m.Card)
		if err != nil || !bytes.Contains(card, []byte(m.Model.SHA256)) {
			t.Errorf("%s: the card doesn't tell the network's sha256 (%v)", name, err)
		}
		checkRoles(t, m)
		if g, err := bundle.ReadGolden(fsys); err != nil || len(g.Vectors) < 4 {
			t.Errorf("%s: golden vectors: %v", name, err)
		}
	}
}

func checkRoles(t *testing.T, m *bundle.Manifest) {
	t.Helper()
	count := map[vision.Role]int{}
	for _, l := range m.Model.Labels {
		role, ok := vision.ParseRole(l.Role)
		if !ok {
			t.Errorf("%s: label %s has role %q", m.Name, l.Name, l.Role)
		}
		count[role]++
	}
	parts := map[bool]int{false: 1, true: 0}[m.Model.Family == "segmentation"] // there the whole picture is the part
	if count[vision.PartRole] != parts || count[vision.DefectRole] == 0 {
		t.Errorf("%s: labels %v have %d parts, want %d, or no defect", m.Name, m.Model.Labels, count[vision.PartRole], parts)
	}
}

// TestDrawnPartsLabels: the labels are those that the scene gives its truth
// by, in the order of the networks' classes: one can stand in for the other.
func TestDrawnPartsLabels(t *testing.T) {
	want := "part:part chip:defect dent:defect stain:defect scratch:defect crack:defect"
	for _, name := range []string{"drawn-parts", "drawn-parts-large"} {
		fsys, err := models.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		m, err := bundle.Read(fsys)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range m.Model.Labels {
			got = append(got, fmt.Sprintf("%s:%s", l.Name, l.Role))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: labels %v, want %s", name, got, want)
		}
		if m.Rule.Spec() != "threshold:defect>0.3" {
			t.Errorf("%s: rule %q", name, m.Rule.Spec())
		}
	}
}
