package capture

import (
	"slices"
	"strings"
)

// picked is a picture of a watched folder that was given to the feeds.
type picked struct {
	key   string  // tells a new file of the same name; without a slash
	left  []*Feed // those that haven't called Done
	older *picked // of the same name, overwritten since, which some feed hasn't done yet
}

// again tells whether a picture of a watched folder has been given before, by a
// worker that has since been replaced.
func (c *Camera) again(name, key string) bool {
	if key == "" {
		return false
	}
	ask, known := c.pick(name, key)
	for _, which := range ask {
		_ = c.ask(message{Kind: askDone, Name: which}) // a worker that is gone leaves it to the next
	}
	return known
}

// pickChecks is how many other names each new one has looked at: with two, the
// pictures that are remembered stay within twice those that are there.
const pickChecks = 2

// which names a picture to the worker: its key tells it from another one that
// has come under the same name.
func (p *picked) which(name string) string { return p.key + "/" + name }

// pick notes a picture and says of which ones the worker is to be asked whether
// they are gone: the picture itself when all have done it already, and a few of
// those that are kept, which somebody may have taken out of the folder.
func (c *Camera) pick(name, key string) (ask []string, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.taken[name]
	if p != nil && p.key == key {
		if len(p.left) == 0 {
			ask = append(ask, p.which(name))
		}
		return ask, true
	}
	checks := 0
	for n, old := range c.taken { // the order is random each time
		if checks++; checks > pickChecks {
			break
		}
		if len(old.left) == 0 && n != name {
			ask = append(ask, old.which(n))
		}
	}
	fresh := &picked{key: key}
	for _, f := range c.feeds {
		if !f.closed {
			fresh.left = append(fresh.left, f)
		}
	}
	if len(fresh.left) == 0 {
		return ask, true // nobody takes it any more: it is for the next start
	}
	if p != nil && len(p.left) > 0 {
		fresh.older = p
	}
	c.taken[name] = fresh
	return ask, false
}

// Done tells that the picture of that name has its verdict, which is on disk:
// of a watched folder it may now be moved or deleted, once each feed's user has
// said so. Of a name that was given more than once it is the oldest picture
// that this feed hasn't done. Of other sources it does nothing.
func (f *Feed) Done(name string) {
	c := f.camera
	c.mu.Lock()
	p := c.taken[name]
	over, which := p.doneBy(f), ""
	if over {
		which = p.which(name)
	}
	c.mu.Unlock()
	if over {
		_ = c.ask(message{Kind: askDone, Name: which}) // where no worker is there, the next one finds the file again
	}
}

// doneBy takes the feed off the oldest picture that waits for it, and reports
// whether nobody is left for the newest, the one that is on disk.
func (p *picked) doneBy(f *Feed) bool {
	var oldest *picked
	for q := p; q != nil; q = q.older {
		if slices.Contains(q.left, f) {
			oldest = q
		}
	}
	if oldest == nil {
		return false
	}
	oldest.left = slices.DeleteFunc(oldest.left, func(g *Feed) bool { return g == f })
	for q := p; q != nil && q.older != nil; q = q.older {
		if q.older.older == nil && len(q.older.left) == 0 {
			q.older = nil
		}
	}
	return len(p.left) == 0
}

// gone forgets a picture that has been moved or deleted. One that came under
// the same name since then stays.
func (c *Camera) gone(which string) {
	key, name, _ := strings.Cut(which, "/")
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.taken[name]; p != nil && p.key == key && len(p.left) == 0 {
		delete(c.taken, name)
	}
}
