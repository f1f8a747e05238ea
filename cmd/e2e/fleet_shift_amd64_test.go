package e2e

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startShifted starts a program whose wall clock is off by so much, of which
// the program can't know. What faketime does to libc is nothing to Go programs,
// which ask the kernel's own library (vDSO); so it is there that the program's
// copy gets another clock_gettime before its first instruction. Programs that
// it starts have the right time again.
func startShifted(t testing.TB, cmd *exec.Cmd, ahead time.Duration) error {
	t.Helper()
	runtime.LockOSThread() // only the thread that traces may let it go
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr.Ptrace = true
	if err := cmd.Start(); errors.Is(err, syscall.EPERM) {
		t.Skip("left out: a program can't be given another clock here: ", err)
	} else if err != nil {
		return err
	}
	pid := cmd.Process.Pid
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		return fmt.Errorf("wait for the program's first instruction: %w", err)
	}
	if err := shiftClock(pid, ahead); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	return syscall.PtraceDetach(pid)
}

func shiftClock(pid int, ahead time.Duration) error {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return err
	}
	var from, to int64
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(line, "[vdso]\n") {
			if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
				return err
			}
		}
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer memory.Close()
	library := make([]byte, to-from)
	if _, err := memory.ReadAt(library, from); err != nil {
		return err
	}
	file, err := elf.NewFile(bytes.NewReader(library))
	if err != nil {
		return err
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return err
	}
	code := shiftedClock(ahead)
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" && s.Size >= uint64(len(code)) {
			_, err := memory.WriteAt(code, from+int64(s.Value))
			return err
		}
	}
	return errors.New("the kernel's library has no clock_gettime")
}

// shiftedClock is clock_gettime(edi, rsi), with seconds added to the wall clock.
func shiftedClock(ahead time.Duration) []byte {
	code := []byte{
		0xb8, syscall.SYS_CLOCK_GETTIME, 0, 0, 0, // mov eax, SYS_clock_gettime
		0x0f, 0x05, // syscall
		0x85, 0xff, // test edi, edi: CLOCK_REALTIME?
		0x75, 0x0d, // jne to ret
		0x48, 0xb9, // mov rcx, seconds
	}
	code = binary.LittleEndian.AppendUint64(code, uint64(int64(ahead/time.Second)))
	return append(code, 0x48, 0x01, 0x0e, 0xc3) // add [rsi], rcx; ret
}
