package updater

import "testing"

func TestVersions(t *testing.T) {
	order := []string{"0.9", "1.0.0-rc1", "1.0.0-rc2", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2"}
	for i, a := range order {
		for j, b := range order {
			if got := compareVersions(a, b); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%s against %s is %d", a, b, got)
			}
		}
	}
}
