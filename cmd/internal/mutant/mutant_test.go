package mutant

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision/models"
)

func shipped(t *testing.T) fs.FS {
	t.Helper()
	fsys, err := models.Open("drawn-parts")
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

func model(t *testing.T) []byte {
	t.Helper()
	b, err := fs.ReadFile(shipped(t), "model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestModelKeepsWhatIsNotTouched(t *testing.T) {
	b := model(t)
	m, err := ParseModel(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Bytes(), b) {
		t.Fatal("an untouched model came out otherwise")
	}
	weights, err := m.Weights()
	if err != nil {
		t.Fatal(err)
	}
	first := weights[0]
	if first.Name != "stem.w" || !cmp.Equal(first.Dims, []int64{16, 3, 3, 3}) || len(first.Values) != 432 {
		t.Fatalf("the first weight is %s %v with %d values", first.Name, first.Dims, len(first.Values))
	}
	was := first.Values[5]
	first.Values[5] += 1
	if err := m.SetWeight(first); err != nil {
		t.Fatal(err)
	}
	again, err := ParseModel(m.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	changed, err := again.Weights()
	if err != nil {
		t.Fatal(err)
	}
	if changed[0].Values[5] != was+1 {
		t.Errorf("the value is %v, want %v", changed[0].Values[5], was+1)
	}
	changed[0].Values[5] = was
	if err := again.SetWeight(changed[0]); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Bytes(), b) {
		t.Error("set back, the model is another one")
	}
}

func TestModelsThatAreNone(t *testing.T) {
	for _, b := range [][]byte{nil, []byte("no model"), model(t)[:1000], {0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f}} {
		if _, err := ParseModel(b); err == nil {
			t.Errorf("%.20q was taken", b)
		}
		if _, err := Slow(b, 3); err == nil {
			t.Errorf("%.20q was slowed down", b)
		}
	}
	if _, err := Slow(model(t), 1); err == nil {
		t.Error("factor 1 was taken")
	}
}

// TestEveryKindChangesTheBundle, in the same way for the same seed, and what
// comes out is a bundle. What one shipped model has nothing of, the other has.
func TestEveryKindChangesTheBundle(t *testing.T) {
	for n, kind := range Kinds() {
		changed := 0
		for _, name := range models.Names() {
			from, err := models.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			if changes(t, from, kind, uint64(n)+1) {
				changed++
			}
		}
		if changed == 0 {
			t.Errorf("%s changes no shipped bundle", kind)
		}
	}
	from := shipped(t)
	if _, err := Write(from, filepath.Join(t.TempDir(), "x"), "nonsense", 1); err == nil {
		t.Error("an unknown kind was taken")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model.onnx"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(from, dir, Noise, 1); err == nil {
		t.Error("a folder with files in it was written to")
	}
}

// changes tells whether a bundle has something of the kind to change.
func changes(t *testing.T, from fs.FS, kind Kind, seed uint64) bool {
	t.Helper()
	good, err := bundle.Read(from)
	if err != nil {
		t.Fatal(err)
	}
	dirs := [2]string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
	var said [2]Mutation
	for i, dir := range dirs {
		if said[i], err = Write(from, dir, kind, seed); errors.Is(err, ErrNothing) {
			return false
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if said[0] != said[1] || said[0].What == "" {
		t.Errorf("%s: said %v, then %v", kind, said[0], said[1])
	}
	m, err := bundle.Read(os.DirFS(dirs[0]))
	if err != nil {
		t.Fatalf("%v: %v", said[0], err)
	}
	first, err := os.ReadFile(filepath.Join(dirs[0], m.Model.File))
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(filepath.Join(dirs[1], m.Model.File))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Errorf("%v: the same seed gave two models", said[0])
	}
	if sum := sha256.Sum256(first); m.Model.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("%v: the checksum doesn't fit", said[0])
	}
	if cmp.Equal(good, m) {
		t.Errorf("%v: the bundle is as it was", said[0])
	}
	return true
}

// TestEveryLayerHasItsTurn, with seeds that follow each other.
func TestEveryLayerHasItsTurn(t *testing.T) {
	layers := map[string]bool{}
	for seed := range uint64(14) {
		m, err := Write(shipped(t), filepath.Join(t.TempDir(), "x"), Zero, seed)
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(m.What, ":")
		layers[name] = true
	}
	if len(layers) != 14 {
		t.Errorf("14 seeds changed %d layers: %v", len(layers), layers)
	}
}

func TestSetVersion(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bundle")
	if err := os.CopyFS(dir, shipped(t)); err != nil {
		t.Fatal(err)
	}
	if err := SetVersion(dir, "caps", "2.0.0"); err != nil {
		t.Fatal(err)
	}
	m, err := bundle.Read(os.DirFS(dir))
	if err != nil || m.Name != "caps" || m.Version != "2.0.0" {
		t.Errorf("%+v, %v", m, err)
	}
	if err := SetVersion(dir, "not a name", ""); err == nil {
		t.Error("a name that can't stand in a path was taken")
	}
}

func TestTamperFlipsOneBit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "caps-1.2.0.slb")
	was := bytes.Repeat([]byte{7}, 1000)
	if err := os.WriteFile(file, was, 0o600); err != nil {
		t.Fatal(err)
	}
	at, err := Tamper(file, 3)
	if err != nil {
		t.Fatal(err)
	}
	is, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if is[at] == 7 {
		t.Error("the byte is as it was")
	}
	if is[at] = 7; !bytes.Equal(is, was) {
		t.Error("more than one byte changed")
	}
	if _, err := Tamper(filepath.Join(t.TempDir(), "none"), 1); err == nil {
		t.Error("a file that isn't there was tampered with")
	}
}

// TestDrawnIsTheSameEachTime, so that recorded vectors can be compared.
func TestDrawnIsTheSameEachTime(t *testing.T) {
	var all [2]map[string][]byte
	for i := range all {
		dir := filepath.Join(t.TempDir(), "bundle")
		names, err := Drawn(dir, 3)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = map[string][]byte{}
		for _, name := range names {
			if all[i][name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(all[0]) != 3 || !cmp.Equal(all[0], all[1]) {
		t.Error("drawn twice, the pictures differ")
	}
}

// TestMalformed: each fault gives other bytes than the model has, the same for the same
// seed, whatever the seed.
func TestMalformed(t *testing.T) {
	good := model(t)
	for _, fault := range Faults() {
		same := 0
		for seed := range uint64(20) {
			first, err := Malformed(good, fault, seed)
			if err != nil {
				t.Fatalf("%s, seed %d: %v", fault, seed, err)
			}
			if second, err := Malformed(good, fault, seed); err != nil || !bytes.Equal(first, second) {
				t.Errorf("%s, seed %d, is not the same twice: %v", fault, seed, err)
			}
			if bytes.Equal(first, good) {
				same++
			}
		}
		if same > 5 {
			t.Errorf("%s left the model as it was %d times of 20", fault, same)
		}
	}
}
