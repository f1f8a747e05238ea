package shm

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Limits of a Pool: a slot holds at most a 20,000 × 20,000 BGR picture.
const (
	MaxSlots    = 64
	MaxSlotSize = 1200 << 20
)

// Pool is a sealed memfd of equal slots, mapped into this process. It stays
// mapped until every Retain has had its Release, so a slice of a slot can't
// vanish under its reader.
type Pool struct {
	Info
	fd   int
	mem  []byte
	refs atomic.Int32
}

// Info is what a peer must know to map a pool.
type Info struct {
	ID       uint64 `json:"id"`    // unique among the pools of one worker's life
	Slots    int    `json:"slots"` // 1 to MaxSlots
	SlotSize int    `json:"size"`  // bytes, a multiple of the page size
}

// NewPool makes a pool whose slots hold at least slotSize bytes each. The
// caller holds one reference.
func NewPool(id uint64, slots, slotSize int) (*Pool, error) {
	page := unix.Getpagesize()
	info := Info{ID: id, Slots: slots, SlotSize: (slotSize + page - 1) / page * page}
	if err := info.check(); err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("sightline-frames", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make shared frame memory: %w", err)
	}
	if err := unix.Ftruncate(fd, info.bytes()); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make %d bytes of shared frame memory: %w", info.bytes(), err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("seal shared frame memory: %w", err)
	}
	return mapPool(fd, info)
}

// OpenPool maps a pool that a peer sent. It takes over fd, also on error, and
// refuses memory that is smaller than told or could shrink under the reader.
func OpenPool(fd int, info Info) (*Pool, error) {
	if err := info.check(); err != nil {
		unix.Close(fd)
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size < info.bytes() {
		unix.Close(fd)
		return nil, fmt.Errorf("map shared frames: memory has %d bytes, %d are told (%v)", st.Size, info.bytes(), err)
	}
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&unix.F_SEAL_SHRINK == 0 {
		unix.Close(fd)
		return nil, fmt.Errorf("map shared frames: the memory isn't sealed against shrinking (%v)", err)
	}
	return mapPool(fd, info)
}

func mapPool(fd int, info Info) (*Pool, error) {
	mem, err := unix.Mmap(fd, 0, int(info.bytes()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("map %d bytes of shared frames: %w", info.bytes(), err)
	}
	p := &Pool{Info: info, fd: fd, mem: mem}
	p.refs.Store(1)
	return p, nil
}

func (i Info) bytes() int64 { return int64(i.Slots) * int64(i.SlotSize) }

func (i Info) check() error {
	if i.Slots < 1 || i.Slots > MaxSlots {
		return fmt.Errorf("frame memory of %d slots: 1 to %d are possible", i.Slots, MaxSlots)
	}
	if i.SlotSize < 1 || i.SlotSize > MaxSlotSize || i.SlotSize%unix.Getpagesize() != 0 {
		return fmt.Errorf("frame memory with slots of %d bytes: whole pages up to %d bytes are possible", i.SlotSize, MaxSlotSize)
	}
	return nil
}

// FD is the memfd, to be sent to a peer. It stays the pool's.
func (p *Pool) FD() int { return p.fd }

// Slot is the memory of slot i.
func (p *Pool) Slot(i int) []byte {
	return p.mem[i*p.SlotSize : (i+1)*p.SlotSize : (i+1)*p.SlotSize]
}

// Retain adds a reference; the caller must hold one already.
func (p *Pool) Retain() { p.refs.Add(1) }

// Release drops a reference and unmaps the memory with the last one.
func (p *Pool) Release() {
	if n := p.refs.Add(-1); n > 0 {
		return
	} else if n < 0 {
		panic("BUG: shm.Pool released more often than retained")
	}
	_ = unix.Munmap(p.mem) // fails only for a range that isn't mapped
	_ = unix.Close(p.fd)
	p.mem = nil
}
