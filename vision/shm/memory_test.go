package shm

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPrivateMemory(t *testing.T) {
	before, data := PrivateMemory(os.Getpid()), MappedData(os.Getpid())
	const size = 64 << 20
	own, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_POPULATE)
	if err != nil {
		t.Fatal(err)
	}
	grown, mapped := PrivateMemory(os.Getpid())-before, MappedData(os.Getpid())-data
	if err := unix.Munmap(own); err != nil {
		t.Fatal(err)
	}
	if grown < size/2 || grown > 2*size {
		t.Errorf("64 MiB more are %d bytes", grown)
	}
	if mapped < size || mapped > 4*size {
		t.Errorf("64 MiB more are %d bytes of mappings", mapped)
	}
	pool, err := NewPool(1, 4, 16<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Release()
	before = PrivateMemory(os.Getpid())
	for n := range pool.Slots {
		clear(pool.Slot(n))
	}
	if grown := PrivateMemory(os.Getpid()) - before; grown > size/2 {
		t.Errorf("64 MiB of frames count as %d bytes of the process's own", grown)
	}
	if gone := PrivateMemory(1 << 30); gone != 0 || MappedData(1<<30) != 0 {
		t.Errorf("a process that isn't there has %d bytes", gone)
	}
}

func TestStatusText(t *testing.T) {
	const text = "Name:\tx\nVmRSS:\t  900 kB\nRssAnon:\t     152 kB\nVmSwap:\t  8 kB\nThreads:\t3\nBad:\tx kB\n"
	for name, want := range map[string]int64{"RssAnon": 152 << 10, "VmSwap": 8 << 10, "Threads": 0, "Bad": 0, "Rss": 0} {
		if got := Kilobytes([]byte(text), name); got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
}
