package wire

import (
	"bytes"
	"strings"
	"testing"
)

// TestUnmeasuredGoldens: what was published decodes to the same for ever.
func TestUnmeasuredGoldens(t *testing.T) {
	const why = "how far cuda float32 moves was never measured for this bundle"
	digest := bytes.Repeat([]byte{0xab}, 32)
	golden(t, "report.v2", &Report{Rollout: "r-42", Digest: digest, Bundle: "caps",
		Stations: []*StationUpdate{{Station: "st1", Phase: Phase_PHASE_COMMITTED, Active: digest, ActiveVersion: "1.2.0", Unmeasured: why}}})
	golden(t, "statement.v2", &Statement{Device: "edge-7", Rollout: "r-42", Digest: digest,
		Gate: &Gate{Pictures: 24, Passed: 24, Provider: "cuda", Runtime: "1.22.0", At: first.UnixNano(), Unmeasured: why}, At: decided.UnixNano()})
	golden(t, "state.v4", &State{Connection: 1 << 60, EveryMs: 10000, Stations: []*StationState{
		{Id: "st1", State: "inspecting", Bundle: "caps", BundleDigest: strings.Repeat("ab", 32), Unmeasured: why}, {Id: "st2", State: "inspecting"}}})
}
