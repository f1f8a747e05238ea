package infer

import (
	"fmt"
	"os"

	"github.com/sightline-edge/sightline/vision/shm"
)

// PSS is the memory of the running worker process in bytes: its own, and its share of
// what it has in common with others. 0 while none runs, or where Linux doesn't tell.
func (w *Worker) PSS() int64 {
	w.mu.Lock()
	pid := w.pid
	w.mu.Unlock()
	if pid == 0 {
		return 0
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	return shm.Kilobytes(text, "Pss")
}
