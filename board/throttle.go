package board

// Why a GPU runs slower than it could: bits of nvmlClocksThrottleReasons
// (nvml.h). Being idle, and clocks that somebody set, are none.
var throttleReasons = []struct {
	bit  uint64
	word string
}{
	{0x04, "power cap"},
	{0x08, "hardware slowdown"},
	{0x20, "too hot"},
	{0x40, "too hot, by hardware"},
	{0x80, "power brake"},
}

// throttled names the bits of a mask.
func throttled(mask uint64) []string {
	var list []string
	for _, r := range throttleReasons {
		if mask&r.bit != 0 {
			list = append(list, r.word)
		}
	}
	return list
}
