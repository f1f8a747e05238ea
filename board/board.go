// Package board reads what the hardware says of itself: temperatures, power,
// load, memory, GPU, fans, and what board it is. The kernel's files are read
// from any fs.FS, so a test reads a tree of its own; NVIDIA's library is asked
// where it answers. What isn't there, or can't be believed, is absent and never
// 0. Nothing here starts anything or writes anywhere.
package board

import (
	"io/fs"
	"time"
)

// Config says what a Reader reads. Root must be given.
type Config struct {
	Root fs.FS  // what the kernel shows at /, as os.DirFS("/")
	Disk string // a path whose file system is measured; empty: none
	NVML bool   // ask NVIDIA's library too, if this program can and the machine has it
}

// Reading is what was measured at one time. Pointers are nil, texts empty and
// lists short where there was nothing to read.
type Reading struct {
	Time     time.Time
	Identity Identity

	Temperatures    []Temperature
	Load            *float64 // one minute's load average
	CPU             *float64 // share of all cores that was busy since the last reading, 0 to 1
	MemoryTotal     *uint64  // bytes
	MemoryAvailable *uint64  // bytes that programs could still get
	GPUs            []GPU
	Power           *float64 // W into the whole board, where one rail measures that
	Rails           []Rail
	Fans            []Fan
	DiskTotal       *uint64 // bytes
	DiskFree        *uint64 // bytes that a program without privileges may still use
	PowerMode       string  // of a Jetson, as nvpmodel names it

	Problems []Problem
}

// Identity is what the machine is. It is read once.
type Identity struct {
	Model    string // of the board, as the device tree or DMI names it
	Serial   string // of the board
	OS       string // PRETTY_NAME of os-release
	Kernel   string // its release
	Hostname string
	Cores    int    // processors that are on; 0 if unknown
	L4T      string // version of Jetson Linux, as 36.4.3; empty where it isn't a Jetson
	JetPack  string // as 6.2
}

// Temperature is one sensor's.
type Temperature struct {
	Name    string
	Celsius float64
}

// GPU is one accelerator.
type GPU struct {
	Name        string
	Integrated  bool     // it shares the board's memory, as a Jetson's
	Load        *float64 // 0 to 1
	Celsius     *float64
	MemoryTotal *uint64  // bytes
	MemoryUsed  *uint64  // bytes
	Power       *float64 // W
	Clock       *uint64  // Hz, now
	ClockMax    *uint64  // Hz
	Throttled   []string // why it runs slower than it could
}

// Rail is one supply that the board measures.
type Rail struct {
	Name  string
	Volts *float64
	Amps  *float64
	Watts *float64
}

// Fan is one fan, or one of the two halves of it that the kernel shows.
type Fan struct {
	Name  string
	Drive *float64 // how hard it is driven, 0 to 1
	RPM   *uint64
}

// Problem is something that is there and couldn't be read or believed.
type Problem struct {
	Path string // below the root, or nvml
	Why  string
}

// maxList is how many sensors of a kind are told; no board has as many.
const maxList = 64

// Reader reads one machine again and again. Its methods may be called by one
// goroutine at a time.
type Reader struct {
	cfg      Config
	busy     cpuTimes // of the last reading
	identity *Identity
	unread   []Problem // of the identity
	nvidia   *library
}

// New makes a reader. It reads nothing yet.
func New(cfg Config) *Reader {
	r := &Reader{cfg: cfg}
	if cfg.NVML {
		r.nvidia = newLibrary()
	}
	return r
}

// Read measures now. Files of the kernel answer in microseconds, a sensor on a
// slow bus in milliseconds; NVIDIA's library is waited for nvmlLimit at most.
func (r *Reader) Read() Reading {
	t := &tree{fs: r.cfg.Root}
	out := Reading{Time: time.Now()}
	zones := t.zones()
	out.Temperatures = append(zones, t.chips(zones)...)
	out.Load = t.load()
	out.CPU, r.busy = t.cpu(r.busy)
	out.MemoryTotal, out.MemoryAvailable = t.memory()
	out.Rails = t.rails()
	out.Power = total(out.Rails)
	out.Fans = t.fans()
	out.PowerMode = t.powerMode()
	out.DiskTotal, out.DiskFree = t.disk(r.cfg.Disk)
	asked, problems := r.nvidia.poll()
	t.problems = append(t.problems, problems...)
	out.GPUs = join(t.tegra(zones), asked)
	if r.identity == nil {
		before := len(t.problems)
		id := t.identity()
		r.identity, r.unread = &id, t.problems[before:len(t.problems):len(t.problems)]
	} else {
		t.problems = append(t.problems, r.unread...)
	}
	out.Identity, out.Problems = *r.identity, t.problems
	return out
}

// Read measures once what one look at the kernel's files can tell, which is
// all but the processors' share.
func Read(root fs.FS) Reading { return New(Config{Root: root}).Read() }
