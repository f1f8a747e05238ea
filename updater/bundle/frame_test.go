package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

func TestTrailingData(t *testing.T) {
	whole := packed(t, tiny())
	skippable := []byte{0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 'h', 'i'}
	for name, tail := range map[string][]byte{"a byte": {0}, "a frame": whole, "a skippable frame": skippable, "zeros": make([]byte, 4096)} {
		t.Run(name, func(t *testing.T) { refused(t, slices.Concat(whole, tail), Limits{}, "data behind its end") })
	}
	raw := rawTar(entriesOf(t, tiny()))
	refused(t, compress(t, append(raw, 0)), Limits{}, "data behind its end")
	refused(t, compress(t, append(raw, raw...)), Limits{}, "data behind its end")
	refused(t, append(skippable, whole...), Limits{}, "doesn't begin with a Zstandard frame")
}

func TestNoBundle(t *testing.T) {
	for _, b := range [][]byte{nil, {0x28}, []byte("PK\x03\x04 a zip file, or its start"), rawTar(entriesOf(t, tiny()))} {
		refused(t, b, Limits{}, "it is no bundle")
	}
}

// TestBomb: little that becomes much, announced or not.
func TestBomb(t *testing.T) {
	fsys := tiny()
	fsys["zeros.bin"] = fsys["model.onnx"]
	all := entriesOf(t, fsys)
	find(all, "zeros.bin").data = make([]byte, ratioFrom+8<<20)
	bomb := compress(t, rawTar(resum(all)))
	if len(bomb) > 32<<10 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	refused(t, bomb, Limits{}, "nothing that a bundle holds is so empty")
	refused(t, bomb, Limits{Bytes: 1 << 20}, "at most 1048576 are possible")

	var h zstd.Header
	if err := h.Decode(bomb); err != nil || h.HeaderSize != 10 {
		t.Fatalf("header of %d bytes, %v", h.HeaderSize, err)
	}
	binary.LittleEndian.PutUint32(bomb[h.HeaderSize-4:], 8192) // it lies
	refused(t, bomb, Limits{}, "")
	refused(t, bomb, Limits{Bytes: 1 << 20}, "")
}

// TestAnnouncedSize: a frame that announces more than it holds, or nothing.
func TestAnnouncedSize(t *testing.T) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	enc.Reset(&b)
	for chunk := range slices.Chunk(rawTar(entriesOf(t, tiny())), 512) {
		if _, err := enc.Write(chunk); err != nil {
			t.Fatal(err)
		}
		if err := enc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	refused(t, b.Bytes(), Limits{}, "doesn't tell its unpacked size")
	refused(t, head(0x80, 0x50, 0xff, 0xff, 0, 0), Limits{}, "it ends too early")
}

// head is the start of a frame with that descriptor and the bytes behind it.
func head(descriptor byte, rest ...byte) []byte {
	return slices.Concat([]byte{0x28, 0xb5, 0x2f, 0xfd, descriptor}, rest)
}

func TestWindow(t *testing.T) {
	refused(t, head(0x80, 14<<3, 0, 0, 0, 1, 1, 0, 0), Limits{}, "it needs 16777216 bytes of memory")
	refused(t, head(0xc0, 21<<3, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0), Limits{}, "bytes of memory")
	refused(t, head(0xa0, 0, 0, 0, 1, 1, 0, 0), Limits{}, "it needs 16777216 bytes of memory") // one segment
	refused(t, head(0xc0, 0x50, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0), Limits{}, "impossible")
}

func TestDictionary(t *testing.T) {
	refused(t, head(0x81, 0x50, 7, 0, 2, 0, 0, 1, 0, 0), Limits{}, "needs a dictionary")
}

func TestTooManyFiles(t *testing.T) {
	refused(t, packed(t, tiny()), Limits{Files: 4}, "more than 4 files")
	fsys := tiny()
	for i := range 4092 {
		fsys[fmt.Sprintf("f/%d", i)] = fsys["MODEL_CARD.md"]
	}
	if _, err := Pack(fsys, &bytes.Buffer{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("4,097 files were packed: %v", err)
	}
}

// TestCut: an archive that was cut off anywhere is refused as one.
func TestCut(t *testing.T) {
	whole := packed(t, tiny())
	parent := t.TempDir()
	for n := range whole {
		_, err := Unpack(bytes.NewReader(whole[:n]), filepath.Join(parent, "b"), Limits{})
		if !errors.Is(err, ErrInvalid) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
}

// TestEveryByteFlipped: no change of a byte gives other files.
func TestEveryByteFlipped(t *testing.T) {
	whole := packed(t, tiny())
	want, err := readArchive(bytes.NewReader(whole), Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	for i := range whole {
		for _, mask := range []byte{0x01, 0x80, 0xff} {
			b := bytes.Clone(whole)
			b[i] ^= mask
			c, err := readArchive(bytes.NewReader(b), Limits{}, nil)
			switch {
			case err != nil && !errors.Is(err, ErrInvalid):
				t.Fatalf("byte %d with %#x: %v is no fault of the bundle", i, mask, err)
			case err == nil && cmp.Diff(want.files, c.files) != "":
				t.Fatalf("byte %d with %#x: other files", i, mask)
			case err == nil:
				same++
			}
		}
	}
	if same > len(whole)/10 {
		t.Errorf("%d of %d changes made no difference", same, 3*len(whole))
	}
}

// TestBrokenStream: what a disk or a connection does is no fault of the bundle.
func TestBrokenStream(t *testing.T) {
	whole := packed(t, tiny())
	for n := range whole {
		parent := t.TempDir()
		r := iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(whole[n:])))
		_, err := Unpack(&joined{bytes.NewReader(whole[:n]), r}, filepath.Join(parent, "b"), Limits{})
		if errors.Is(err, ErrInvalid) || !errors.Is(err, iotest.ErrTimeout) {
			t.Fatalf("broken after %d bytes: %v", n, err)
		}
		if n > 300 {
			break
		}
	}
}

// joined reads one after the other, and is not known to be that.
type joined struct {
	a, b interface{ Read([]byte) (int, error) }
}

func (j *joined) Read(p []byte) (int, error) {
	if n, _ := j.a.Read(p); n > 0 {
		return n, nil
	}
	return j.b.Read(p)
}

func FuzzUnpack(f *testing.F) {
	f.Add(packed(f, tiny()))
	f.Add(compress(f, rawTar(resum(append(entriesOf(f, tiny()), entry{path: "../evil", data: []byte("evil")})))))
	f.Add(head(0x80, 0x50, 0xff, 0xff, 0, 0, 3, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := readArchive(bytes.NewReader(b), Limits{Bytes: 1 << 20}, nil)
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%v is no fault of the bundle", err)
		}
		if err == nil && c.manifest == nil {
			t.Error("a bundle without a manifest was accepted")
		}
	})
}

// FuzzTar feeds what stands inside the compression, which a fuzzer of the
// outside never reaches. What is accepted packs into the same files.
func FuzzTar(f *testing.F) {
	f.Add(rawTar(entriesOf(f, tiny())))
	f.Fuzz(func(t *testing.T, b []byte) {
		files := map[string][sha256.Size]byte{}
		c, err := readTar(bytes.NewReader(b), Limits{Bytes: 1 << 20}.orDefaults(), nil)
		switch {
		case err == nil:
			for _, file := range c.files {
				if err := CheckPath(file.Path); err != nil {
					t.Error(err)
				}
				files[file.Path] = file.SHA256
			}
			if _, ok := files[c.manifest.Model.File]; !ok || len(files) != len(c.files) {
				t.Errorf("accepted: %v", files)
			}
		case !errors.Is(err, ErrInvalid):
			t.Errorf("%v is no fault of the bundle", err)
		}
	})
}
