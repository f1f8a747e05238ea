package bundle

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// large is tiny with a file beyond the window, folders and a long path.
func large() fstest.MapFS {
	fsys := tiny()
	noise := make([]byte, 10<<20)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(noise[:3<<20]) // never fails
	fsys["weights.bin"] = &fstest.MapFile{Data: noise}
	fsys["empty"] = &fstest.MapFile{}
	fsys["block"] = &fstest.MapFile{Data: make([]byte, block)}
	fsys["a/b/c/d"] = &fstest.MapFile{Data: []byte("deep"), Mode: 0o777}
	fsys[strings.Repeat("long-folder/", 6)+strings.Repeat("n", 99)] = &fstest.MapFile{Data: []byte("long")}
	return fsys
}

func TestRoundTrip(t *testing.T) {
	fsys := large()
	archive := packed(t, fsys)
	if again := packed(t, fsys); !bytes.Equal(archive, again) {
		t.Error("the same folder gave another archive")
	}
	parent := t.TempDir()
	dir := filepath.Join(parent, "content")
	m, err := Unpack(iotest.OneByteReader(bytes.NewReader(archive)), dir, Limits{})
	if err != nil || m.Name != "caps" {
		t.Fatal(m, err)
	}
	got := tree(t, os.DirFS(dir))
	sums := got[SumsFile]
	delete(got, SumsFile)
	if d := cmp.Diff(tree(t, fsys), got); d != "" {
		t.Error(d)
	}
	st, err := os.Stat(filepath.Join(dir, "a/b/c/d"))
	if err != nil || st.Mode() != 0o644 {
		t.Errorf("mode is %v, %v", st.Mode(), err)
	}
	if _, err := Verify(dir); err != nil {
		t.Error(err)
	}
	if again := packed(t, os.DirFS(dir)); !bytes.Equal(archive, again) {
		t.Error("what was unpacked gave another archive")
	}

	file := filepath.Join(parent, "b.slb")
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(archive)
	if a.Digest() != hex.EncodeToString(want[:]) || a.Size() != int64(len(archive)) || len(a.Files()) != len(fsys) || a.Sums() != sha256.Sum256([]byte(sums)) {
		t.Errorf("digest %s, %d bytes, %d files", a.Digest(), a.Size(), len(a.Files()))
	}
	if a.Unpacked() < 10<<20 || a.Manifest().Version != "1.2.0" || a.Golden().Vectors[0].Verdict != "FAIL" {
		t.Errorf("unpacked %d, manifest %+v", a.Unpacked(), a.Manifest())
	}
	if b, err := a.ReadFile("a/b/c/d", 4); err != nil || string(b) != "deep" {
		t.Errorf("read %q, %v", b, err)
	}
	if _, err := a.ReadFile("a/b/c/d", 3); err == nil || !strings.Contains(err.Error(), "at most 3 are read") {
		t.Errorf("read too much: %v", err)
	}
	if _, err := a.ReadFile("nobody", 4); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read what isn't there: %v", err)
	}
}

// TestOthersReadIt: the archive is a tar in a Zstandard frame for everybody.
func TestOthersReadIt(t *testing.T) {
	dec, err := zstd.NewReader(bytes.NewReader(packed(t, large())))
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	want := tree(t, large())
	var names []string
	for r := tar.NewReader(dec); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if names = append(names, h.Name); h.Name != SumsFile && want[h.Name] != string(b) {
			t.Errorf("%s differs", h.Name)
		}
		if h.Typeflag != tar.TypeReg || h.Mode != 0o644 || h.ModTime.Unix() != 0 || h.Format != tar.FormatUSTAR {
			t.Errorf("%s: %+v", h.Name, h)
		}
	}
	if len(names) != len(want)+1 || names[0] != SumsFile {
		t.Errorf("files are %v", names)
	}
	if path, err := exec.LookPath("sha256sum"); err == nil {
		dir := filepath.Join(t.TempDir(), "b")
		if _, err := Unpack(bytes.NewReader(packed(t, large())), dir, Limits{}); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(path, "--strict", "-c", SumsFile)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("sha256sum: %v\n%s", err, out)
		}
	}
}

var update = flag.Bool("update", false, "write the golden archive anew, which only a new version of the format may")

const goldenDigest = "66d0aa074a43c31c8f63d0ac8f3a9bf866238d465ae5b2b451a5598435b87772"

// TestGoldenArchive: an archive that was once published is read for ever.
func TestGoldenArchive(t *testing.T) {
	file := filepath.Join("testdata", "caps-1.2.0.slb")
	if *update {
		if err := os.WriteFile(file, packed(t, tiny()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := goldenDigest; a.Digest() != want {
		t.Errorf("digest is %s, want %s: the file was changed", a.Digest(), want)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "b")
	if _, err := Unpack(bytes.NewReader(b), dir, Limits{}); err != nil {
		t.Fatal(err)
	}
	got := tree(t, os.DirFS(dir))
	delete(got, SumsFile)
	if d := cmp.Diff(tree(t, tiny()), got); d != "" {
		t.Error(d)
	}
}

func TestUnpackOverSomething(t *testing.T) {
	for name, make := range map[string]func(p string) error{
		"a folder":      func(p string) error { return os.Mkdir(p, 0o755) },
		"a file":        func(p string) error { return os.WriteFile(p, nil, 0o644) },
		"a broken link": func(p string) error { return os.Symlink("nowhere", p) },
	} {
		dir := filepath.Join(t.TempDir(), "b")
		if err := make(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Unpack(bytes.NewReader(packed(t, tiny())), dir, Limits{}); !errors.Is(err, fs.ErrExist) || errors.Is(err, ErrInvalid) {
			t.Errorf("over %s: %v", name, err)
		}
	}
}

// TestDiskFull: it says so, and leaves nothing behind.
func TestDiskFull(t *testing.T) {
	parent := t.TempDir()
	if err := unix.Mount("tmpfs", parent, "tmpfs", 0, "size=2M"); err != nil {
		t.Skipf("left out: a small tmpfs can't be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(parent, unix.MNT_DETACH) }) // the folder goes with it
	_, err := Unpack(bytes.NewReader(packed(t, large())), filepath.Join(parent, "b"), Limits{})
	if !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "free some room") {
		t.Errorf("error is %v", err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestKilledWhileUnpacking: there is no folder of that name, and what was begun
// can be swept away.
func TestKilledWhileUnpacking(t *testing.T) {
	if dir := os.Getenv("UNPACK_INTO"); dir != "" {
		_, err := Unpack(&announced{in: os.Stdin, at: 1 << 20}, dir, Limits{})
		t.Fatal("it came to an end:", err)
	}
	parent := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestKilledWhileUnpacking$")
	cmd.Env = append(os.Environ(), "UNPACK_INTO="+filepath.Join(parent, "b"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write(packed(t, large())[:2<<20]); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	left, err := os.ReadDir(parent)
	if err != nil || len(left) != 1 || !strings.HasPrefix(left[0].Name(), unpacking) {
		t.Fatalf("after the kill there is %v, %v", left, err)
	}
	if err := os.Mkdir(filepath.Join(parent, "kept"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(parent); err != nil {
		t.Fatal(err)
	}
	if left, err = os.ReadDir(parent); err != nil || len(left) != 1 || left[0].Name() != "kept" {
		t.Errorf("after the sweep there is %v, %v", left, err)
	}
}

// announced tells on stdout when so much was read.
type announced struct {
	in io.Reader
	at int
}

func (a *announced) Read(p []byte) (int, error) {
	n, err := a.in.Read(p)
	if a.at > 0 && a.at <= n {
		_, err = os.Stdout.WriteString("!")
	}
	a.at -= n
	return n, err
}

func TestVerify(t *testing.T) {
	for name, c := range map[string]struct {
		change func(dir string) error
		want   string
	}{
		"a changed byte": {func(d string) error { return os.WriteFile(d+"/model.onnx", []byte("b model"), 0o644) }, "it was damaged or changed"},
		"a lost file":    {func(d string) error { return os.Remove(d + "/model.onnx") }, "model.onnx is missing"},
		"one more":       {func(d string) error { return os.WriteFile(d+"/golden/x", nil, 0o644) }, "golden/x isn't one of its files"},
		"a hidden one":   {func(d string) error { return os.WriteFile(d+"/.x", nil, 0o644) }, "not a path inside the bundle"},
		"a link":         {func(d string) error { return os.Symlink("model.onnx", d+"/link") }, "link is a symbolic link"},
		"a link instead": {func(d string) error {
			return errors.Join(os.Rename(d+"/model.onnx", d+"/../m"), os.Symlink("../m", d+"/model.onnx"))
		}, "model.onnx is a symbolic link"},
		"no sums":      {func(d string) error { return os.Remove(d + "/" + SumsFile) }, "it has no SHA256SUMS"},
		"cut sums":     {func(d string) error { return os.Truncate(d+"/"+SumsFile, 90) }, "last line has no end"},
		"a named pipe": {func(d string) error { return unix.Mkfifo(d+"/pipe", 0o644) }, "a named pipe"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "b")
			if _, err := Unpack(bytes.NewReader(packed(t, tiny())), dir, Limits{}); err != nil {
				t.Fatal(err)
			}
			if err := c.change(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := Verify(dir); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want an invalid bundle with %q", err, c.want)
			}
		})
	}
	if _, err := Verify(filepath.Join(t.TempDir(), "nobody")); err == nil {
		t.Error("a folder that isn't there was verified")
	}
}

// changing is a folder whose model is another one each time it is opened.
type changing struct {
	fstest.MapFS
	opened int
}

func (c *changing) Open(name string) (fs.File, error) {
	if name == "model.onnx" {
		if c.opened++; c.opened == 2 {
			c.MapFS[name] = &fstest.MapFile{Data: []byte("b model, if one doesn't look closely")}
		}
	}
	return c.MapFS.Open(name)
}

func TestPackRefuses(t *testing.T) {
	if _, err := Pack(&changing{MapFS: tiny()}, io.Discard); err == nil || !strings.Contains(err.Error(), "changed while it was being packed") {
		t.Errorf("a folder that changes: %v", err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, tiny()); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := Pack(os.DirFS(dir), io.Discard); err == nil || !strings.Contains(err.Error(), "link is a symbolic link") {
		t.Errorf("a symbolic link: %v", err)
	}
	fsys := tiny()
	fsys[".DS_Store"] = &fstest.MapFile{}
	if _, err := Pack(fsys, io.Discard); err == nil || !strings.Contains(err.Error(), `".DS_Store" is not a path inside the bundle`) {
		t.Errorf("a hidden file: %v", err)
	}
	if _, err := Pack(tiny(), failing{}); !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrInvalid) {
		t.Errorf("onto a full disk: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestDigestAndPieces(t *testing.T) {
	for _, size := range []int{0, 1, PieceSize, PieceSize + 1, 3*PieceSize - 1} {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(i >> 8)
		}
		whole := sha256.Sum256(b)
		digest, n, err := Digest(bytes.NewReader(b))
		if err != nil || n != int64(size) || digest != hex.EncodeToString(whole[:]) {
			t.Errorf("%d bytes: digest %s of %d, %v", size, digest, n, err)
		}
		var want []byte
		for at := 0; at < size; at += PieceSize {
			sum := sha256.Sum256(b[at:min(at+PieceSize, size)])
			want = append(want, sum[:]...)
		}
		if got, err := Pieces(iotest.HalfReader(bytes.NewReader(b))); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d bytes of pieces, want %d; %v", size, len(got), len(want), err)
		}
	}
	if _, err := Pieces(iotest.ErrReader(syscall.EIO)); !errors.Is(err, syscall.EIO) {
		t.Errorf("a broken disk: %v", err)
	}
	if got := TargetPath("caps", "1.2.0"); got != "bundles/caps/1.2.0.slb" {
		t.Errorf("path is %s", got)
	}
}
