//go:build cgo && linux

package lean

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ofFiles is how much of files the process has in its memory, kB.
func ofFiles(t *testing.T) (kb int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nRssFile:")
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return kb
}

// program is where this test's first pages lie, which nothing runs.
func program(t *testing.T) uintptr {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(bytes.NewReader(maps))
	for in.Scan() {
		var from uintptr
		if f := strings.Fields(in.Text()); len(f) == 6 && f[5] == self && f[2] == "00000000" {
			if _, err := fmt.Sscanf(f[0], "%x-", &from); err == nil {
				return from
			}
		}
	}
	t.Fatalf("%s isn't mapped:\n%s", self, maps)
	return 0
}

func TestPagesOfFilesGo(t *testing.T) {
	text, err := os.ReadFile("/proc/self/exe") // its pages are in the kernel's cache now
	if err != nil || len(text) == 0 {
		t.Fatal(err)
	}
	before := ofFiles(t)
	gone := trim()
	after := ofFiles(t)
	t.Logf("%d kB of files before, %d after; %d kB of addresses", before, after, gone/1024)
	if gone == 0 || after >= before {
		t.Errorf("%d kB before, %d after", before, after)
	}
}

// TestWhatWasWrittenStays: a page of the program that is no longer as the file has it
// is the process's own.
func TestWhatWasWrittenStays(t *testing.T) {
	at := program(t)
	page := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), at)), os.Getpagesize())
	if !bytes.HasPrefix(page, []byte("\x7fELF")) {
		t.Fatalf("the program begins with %q", page[:4])
	}
	if err := unix.Mprotect(page, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		t.Skipf("left out: this kernel lets nobody write there: %v", err)
	}
	const unused = 15 // byte of the identification
	before := page[unused]
	page[unused] = 'S'
	if err := unix.Mprotect(page, unix.PROT_READ); err != nil {
		t.Fatal(err)
	}
	trim()
	if page[unused] != 'S' {
		t.Errorf("it is %q again, as it was: %q", page[unused], before)
	}
}

func TestWhenItSettles(t *testing.T) {
	var all []time.Duration
	for at := first; len(all) < 6; at = next(at) {
		all = append(all, at/time.Second)
	}
	if want := []time.Duration{1, 10, 100, 200, 300, 400}; !slices.Equal(all, want) {
		t.Errorf("it settles after %d s, want %d", all, want)
	}
}

func TestSettle(t *testing.T) {
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	Settle()
	if now := debug.SetGCPercent(100); now != growth {
		t.Errorf("GOGC is %d", now)
	}
	t.Setenv("GOGC", "80")
	debug.SetGCPercent(80)
	Settle()
	if now := debug.SetGCPercent(100); now != 80 {
		t.Errorf("GOGC is %d though its variable says 80", now)
	}
}
