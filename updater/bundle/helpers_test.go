package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"
)

// tiny is a whole bundle with a model that is none.
func tiny() fstest.MapFS {
	model := []byte("a model, if one doesn't look closely")
	sum := sha256.Sum256(model)
	manifest := strings.Replace(good, "9f2c"+strings.Repeat("0", 59)+"1", hex.EncodeToString(sum[:]), 1) + "golden: golden/expected.json\n"
	return fstest.MapFS{
		ManifestFile:     {Data: []byte(manifest)},
		"model.onnx":     {Data: model},
		"MODEL_CARD.md":  {Data: []byte("# caps\n")},
		GoldenFile:       {Data: []byte(goodGolden)},
		"golden/one.png": {Data: []byte("\x89PNG, or so it says")},
	}
}

const goodGolden = `{
 "golden": 1,
 "recorded": {"provider":"cpu","precision":"float32","runtime":"1.22.0","agent":"0.5.0"},
 "tolerance": {"score":0.02,"iou":0.9,"raw":0.01},
 "lowest": 0.125,
 "vectors": [
  {"picture":"golden/one.png","verdict":"FAIL","reason":"scratch","parts":[{"box":[0,1,40,20],"verdict":"FAIL","reason":"scratch"}],"detections":[{"label":"scratch","score":0.875,"box":[1,2,30,4.5]}],"outputs":[{"name":"output0","shape":[1,3,2],"every":4,"values":[0.5,-1]}]}
 ]
}
`

// packed is the archive of a folder.
func packed(t testing.TB, fsys fs.FS) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := Pack(fsys, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// entry of a tar that may be wrong.
type entry struct {
	path string
	data []byte
	edit func(h *[block]byte) // before the checksum is made
}

// entriesOf gives the entries of a good archive, SHA256SUMS first.
func entriesOf(t testing.TB, fsys fs.FS) []entry {
	t.Helper()
	files, err := List(fsys)
	if err != nil {
		t.Fatal(err)
	}
	all := []entry{{path: SumsFile, data: sumsText(files)}}
	for _, f := range files {
		data, err := fs.ReadFile(fsys, f.Path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{path: f.Path, data: data})
	}
	return all
}

// resum makes the list of sums fit the entries, whatever those are.
func resum(all []entry) []entry {
	var b bytes.Buffer
	for _, e := range all[1:] {
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(e.data), e.path)
	}
	all[0].data = b.Bytes()
	return all
}

// rawTar writes the entries as they are.
func rawTar(all []entry) []byte {
	var b bytes.Buffer
	for _, e := range all {
		h := header(e.path, int64(len(e.data)))
		if e.edit != nil {
			e.edit(&h)
			copy(h[148:156], "        ")
			sum := 0
			for _, c := range h {
				sum += int(c)
			}
			copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
		}
		b.Write(h[:])
		b.Write(e.data)
		b.Write(make([]byte, padded(int64(len(e.data)))-int64(len(e.data))))
	}
	b.Write(make([]byte, 2*block))
	return b.Bytes()
}

// compress makes one frame that announces a size.
func compress(t testing.TB, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	enc.ResetContentSize(&b, int64(len(raw)))
	if _, err := enc.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// refused wants the archive to be refused in these words, by Unpack, which
// leaves nothing behind, and by Open.
func refused(t *testing.T, archive []byte, limit Limits, want string) {
	t.Helper()
	parent := t.TempDir()
	_, err := Unpack(bytes.NewReader(archive), filepath.Join(parent, "b"), limit)
	if err == nil || !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
		t.Errorf("unpack: error is %v, want an invalid bundle with %q", err, want)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if limit != (Limits{}) {
		return
	}
	file := filepath.Join(parent, "b.slb")
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); err == nil || !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
		t.Errorf("open: error is %v, want an invalid bundle with %q", err, want)
	}
}

// tree reads all files of a folder.
func tree(t testing.TB, fsys fs.FS) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(fsys, p)
		all[p] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
