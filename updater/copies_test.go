package updater

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func savedTwice(t *testing.T) (c *copies, newest string) {
	t.Helper()
	c = &copies{name: "x", path: filepath.Join(t.TempDir(), "x")}
	for _, body := range []string{"first", "second", "third"} {
		if err := c.save([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	for _, suffix := range copySuffixes {
		if _, body, err := readCopy(c.path+suffix, "x"); err == nil && string(body) == "third" {
			newest = c.path + suffix
		}
	}
	return c, newest
}

func again(c *copies) (string, error) {
	b, err := (&copies{name: "x", path: c.path}).load()
	return string(b), err
}

// TestTornWrite: a copy that was written only in part, over what was there
// before, gives the generation before it.
func TestTornWrite(t *testing.T) {
	c, newest := savedTwice(t)
	whole := must(os.ReadFile(newest))(t)
	old := bytes.Replace(whole, []byte("third"), []byte("first"), 1)
	for n := range 100 {
		torn := append(bytes.Clone(whole[:n]), bytes.Repeat([]byte{0}, len(whole)-n)...)
		for _, b := range [][]byte{torn, whole[:n], append(bytes.Clone(whole[:n]), old[n:]...)} {
			if bytes.HasPrefix(b, whole[:bytes.IndexByte(whole, '\n')+6]) {
				continue // all that counts is there
			}
			if err := os.WriteFile(newest, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := again(c); got != "second" || err != nil {
				t.Fatalf("torn after %d bytes: %q, %v", n, got, err)
			}
		}
	}
}

func TestBitRot(t *testing.T) {
	c, newest := savedTwice(t)
	whole := must(os.ReadFile(newest))(t)
	for i := range bytes.IndexByte(whole, '\n') + len("third") {
		for bit := range 8 {
			b := bytes.Clone(whole)
			b[i] ^= 1 << bit
			if err := os.WriteFile(newest, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := again(c); got != "second" || err != nil {
				t.Fatalf("bit %d of byte %d: %q, %v", bit, i, got, err)
			}
		}
	}
}

func TestBothCopiesDamaged(t *testing.T) {
	c, _ := savedTwice(t)
	for _, suffix := range copySuffixes {
		if err := os.WriteFile(c.path+suffix, []byte("rot"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lost := &copies{name: "x", path: c.path}
	if b, err := lost.load(); !errors.Is(err, errLost) {
		t.Fatalf("%q, %v", b, err)
	}
	if err := lost.save([]byte("anew")); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range copySuffixes {
		if _, body, err := readCopy(c.path+suffix, "x"); string(body) != "anew" || err != nil {
			t.Errorf("%s: %q, %v", suffix, body, err)
		}
	}
}

func TestOneUnreadableCopy(t *testing.T) {
	c, newest := savedTwice(t)
	if err := errors.Join(os.Remove(newest), os.Mkdir(newest, 0o700)); err != nil { // reading it fails
		t.Fatal(err)
	}
	if got, err := again(c); got != "second" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestNothingSaved(t *testing.T) {
	c := &copies{name: "x", path: filepath.Join(t.TempDir(), "x")}
	if b, err := c.load(); b != nil || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	// The very first write was cut short: nothing was ever said to be saved.
	if err := os.WriteFile(c.path+".a", []byte("sightl"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := c.load(); b != nil || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func TestCopyUnderAnothersName(t *testing.T) {
	c, _ := savedTwice(t)
	if b, err := (&copies{name: "y", path: c.path}).load(); !errors.Is(err, errLost) {
		t.Errorf("%q, %v", b, err)
	}
}

func FuzzReadCopy(f *testing.F) {
	f.Add([]byte("sightline-update 1 gen 1 len 2 crc 00000000\n{}"))
	f.Add([]byte("sightline-update 1 gen 18446744073709551615 len -1 crc ffffffff\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "x.a")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, body, err := readCopy(path, "x"); err == nil {
			_, _ = decodeRecord(body) // whatever it says, it returns
		}
	})
}
