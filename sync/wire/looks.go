package wire

import "fmt"

// MaxLooks bounds the models that a result names; two look at a part as it is.
const MaxLooks = 8

// checkLooks refuses a result that names more models, or more of them, than an
// agent would.
func (r *Result) checkLooks() error {
	if n := len(r.GetLooks()); n > MaxLooks {
		return fmt.Errorf("it names %d models that looked, the fleet takes %d", n, MaxLooks)
	}
	for _, l := range r.GetLooks() {
		for what, text := range map[string]string{
			"name": l.GetModel(), "version": l.GetVersion(), "digest": l.GetDigest(), "why": l.GetWhy(), "missed": l.GetMissed(),
		} {
			if len(text) > MaxName {
				return fmt.Errorf("a model that looked has %d bytes as its %s, the fleet takes %d", len(text), what, MaxName)
			}
		}
	}
	return nil
}
