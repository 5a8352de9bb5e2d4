package server

import (
	"maps"
	"sync"
	"sync/atomic"
)

// copyOnWrite is a map that every request reads, and that seldom gets a new key. Reading takes no lock and no memory, and
// half the time of a sync.Map, which compares keys through an interface. Adding a key copies all others.
type copyOnWrite[Key comparable, Value any] struct {
	current atomic.Pointer[map[Key]Value]
	// changing is held by everyone who changes it.
	changing sync.Mutex
}

// get returns the value of a key. Where there is none, create makes it, once.
func (m *copyOnWrite[Key, Value]) get(key Key, create func() Value) Value {
	if value, found := m.load()[key]; found {
		return value
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	before := m.load()
	if value, found := before[key]; found {
		return value
	}
	after := make(map[Key]Value, len(before)+1)
	maps.Copy(after, before)
	after[key] = create()
	m.current.Store(&after)
	return after[key]
}

// remove takes a key out.
func (m *copyOnWrite[Key, Value]) remove(key Key) {
	m.changing.Lock()
	defer m.changing.Unlock()
	after := maps.Clone(m.load())
	delete(after, key)
	m.current.Store(&after)
}

func (m *copyOnWrite[Key, Value]) load() map[Key]Value {
	if current := m.current.Load(); current != nil {
		return *current
	}
	return nil
}
