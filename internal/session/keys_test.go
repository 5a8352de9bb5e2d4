package session

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"time"
)

// keyPolicy is one for keys of 30 days and sessions of 14.
func keyPolicy() KeyPolicy {
	return KeyPolicy{Period: 30 * day, WarmUp: 5 * time.Minute, ClockSkew: 30 * time.Second, AbsoluteLifetime: 14 * day}
}

func plan(t *testing.T, now time.Time, policy KeyPolicy, keys *Keys) KeyDecision {
	t.Helper()
	decision, err := PlanKeys(now, policy, keys, fixedRandom())
	if err != nil {
		t.Fatal(err)
	}
	return decision
}

// keysUsableFrom are keys that become usable at these times, with sessions of 14 days.
func keysUsableFrom(times ...time.Time) *Keys {
	keys := &Keys{Revision: 1}
	for i, at := range times {
		key := newKey([keySize]byte{byte(i + 1)})
		key.CreatedAt, key.UsableFrom, key.MaxLifetime = at.Add(-5*time.Minute-30*time.Second), at, 14*day
		keys.list = append(keys.list, key)
	}
	return keys
}

func TestPlanKeys(t *testing.T) {
	const warmUp, skew = 5 * time.Minute, 30 * time.Second
	const lead = warmUp + skew
	const removal = lead + skew + 14*day // after the successor became usable
	two := func(since time.Duration) *Keys { return keysUsableFrom(noon.Add(-since-30*day), noon.Add(-since)) }
	for name, test := range map[string]struct {
		keys *Keys
		edit func(*KeyPolicy)
		// created and removed are how many come and go.
		created, removed int
		// usable is when the newest key is usable, and wake when to plan again, both from noon on.
		usable, wake time.Duration
		// changed is true where something is to be written though no key comes or goes.
		changed bool
	}{
		"the first key":                 {nil, nil, 1, 0, 0, 30*day - lead, true},
		"too early":                     {keysUsableFrom(noon.Add(-29 * day)), nil, 0, 0, -29 * day, day - lead, false},
		"just too early":                {keysUsableFrom(noon.Add(-30*day + lead + 1)), nil, 0, 0, -30*day + lead + 1, 1, false},
		"time to warm the next one up":  {keysUsableFrom(noon.Add(-30*day + lead)), nil, 1, 0, lead, lead + removal, true},
		"too late":                      {keysUsableFrom(noon.Add(-40 * day)), nil, 1, 0, lead, lead + removal, true},
		"before the old one may go":     {two(removal - 1), nil, 0, 0, -removal + 1, 1, false},
		"the old one may go":            {two(removal), nil, 0, 1, -removal, 30*day - removal - lead, true},
		"sessions last longer now":      {two(removal - day), longer, 0, 0, -removal + day, day, true},
		"sessions last shorter now":     {two(removal - 1), shorter, 0, 0, -removal + 1, 1, false},
		"the newest is revoked":         {two(time.Hour), revoke(2), 1, 1, lead, lead + removal, true},
		"the oldest is revoked":         {two(time.Hour), revoke(1), 0, 1, -time.Hour, 30*day - time.Hour - lead, true},
		"both are revoked":              {two(time.Hour), revoke(1, 2), 1, 2, 0, 30*day - lead, true},
		"an unknown one is revoked":     {two(time.Hour), revoke(9), 0, 0, -time.Hour, removal - time.Hour, false},
		"a period below the warm-up":    {nil, func(p *KeyPolicy) { p.Period = time.Minute }, 2, 0, lead, time.Minute, true},
		"the policy's defaults":         {nil, func(p *KeyPolicy) { p.Period, p.WarmUp = 0, 0 }, 1, 0, 0, DefaultKeyPeriod - DefaultKeyWarmUp - skew, true},
		"usable too far in the future":  {keysUsableFrom(noon.Add(999 * day)), nil, 0, 0, lead + skew, 30*day + skew, true},
		"usable as far as clocks may":   {keysUsableFrom(noon.Add(lead + skew)), nil, 0, 0, lead + skew, 30*day + skew, false},
		"created too far in the future": {createdAt(noon.Add(day)), nil, 0, 0, 0, 30*day - lead, true},
	} {
		t.Run(name, func(t *testing.T) {
			policy := keyPolicy()
			if test.edit != nil {
				test.edit(&policy)
			}
			var before []byte
			if test.keys != nil {
				before, _ = EncodeKeys(test.keys)
			}
			got := plan(t, noon, policy, test.keys)
			if len(got.Created) != test.created || len(got.Removed) != test.removed || got.Changed != test.changed {
				t.Errorf("created %d, removed %d, changed %v; want %d, %d and %v",
					len(got.Created), len(got.Removed), got.Changed, test.created, test.removed, test.changed)
			}
			all := got.Keys.All()
			if at := all[len(all)-1].UsableFrom; !at.Equal(noon.Add(test.usable)) {
				t.Errorf("the newest key is usable after %s, want %s", at.Sub(noon), test.usable)
			}
			if !got.Wake.Equal(noon.Add(test.wake)) {
				t.Errorf("Wake is after %s, want %s", got.Wake.Sub(noon), test.wake)
			}
			if test.keys == nil {
				return
			}
			if after, _ := EncodeKeys(test.keys); !bytes.Equal(before, after) {
				t.Error("PlanKeys() changed the keys that it was given")
			}
			if advanced := got.Keys.Revision == test.keys.Revision+1; advanced != got.Changed {
				t.Errorf("the revision went from %d to %d, and changed is %v", test.keys.Revision, got.Keys.Revision, got.Changed)
			}
		})
	}
}

// longer affects the newest key only: the old one can open no more sessions, so when it goes does not change.
func longer(p *KeyPolicy)  { p.AbsoluteLifetime = 60 * day }
func shorter(p *KeyPolicy) { p.AbsoluteLifetime = time.Hour }

func revoke(numbers ...byte) func(*KeyPolicy) {
	return func(p *KeyPolicy) {
		for _, number := range numbers {
			key := newKey([keySize]byte{number})
			p.Revoked = append(p.Revoked, key.ID)
		}
	}
}

func createdAt(at time.Time) *Keys {
	keys := keysUsableFrom(noon)
	keys.list[0].CreatedAt = at
	return keys
}

func TestLifetimeIsAdoptedByKeysThatOpenSessions(t *testing.T) {
	// The second is usable since an hour, the third is being warmed up.
	keys := keysUsableFrom(noon.Add(-31*day), noon.Add(-time.Hour), noon.Add(time.Minute))
	policy := keyPolicy()
	policy.AbsoluteLifetime = 60 * day
	for i, want := range []time.Duration{14 * day, 60 * day, 60 * day} {
		if got := plan(t, noon, policy, keys).Keys.list[i].MaxLifetime; got != want {
			t.Errorf("key %d vouches for sessions of %s, want %s", i, got, want)
		}
	}
}

func TestCurrent(t *testing.T) {
	keys := keysUsableFrom(noon.Add(-time.Hour), noon, noon.Add(time.Hour))
	for name, test := range map[string]struct {
		now  time.Time
		want int
	}{
		"a clock behind all":     {noon.Add(-2 * time.Hour), 0},
		"the first":              {noon.Add(-time.Hour), 0},
		"just before the second": {noon.Add(-1), 0},
		"the second":             {noon, 1},
		"the third":              {noon.Add(time.Hour), 2},
		"long after":             {noon.Add(9999 * time.Hour), 2},
	} {
		if got := keys.Current(test.now); got.ID != keys.list[test.want].ID {
			t.Errorf("%s: Current() = %s, want %s", name, got.ID, keys.list[test.want].ID)
		}
	}
}

func TestRemoveAfter(t *testing.T) {
	keys := keysUsableFrom(noon, noon.Add(time.Hour))
	want := noon.Add(time.Hour + 5*time.Minute + 14*day + time.Minute)
	if got, ok := keys.RemoveAfter(keys.list[0].ID, keyPolicy()); !ok || !got.Equal(want) {
		t.Errorf("RemoveAfter() of the first = %s, %v; want %s", got, ok, want)
	}
	for name, id := range map[string]KeyID{"the newest": keys.list[1].ID, "an unknown one": {9}} {
		if got, ok := keys.RemoveAfter(id, keyPolicy()); ok {
			t.Errorf("RemoveAfter() of %s = %s, want none", name, got)
		}
	}
}

func TestKeysAreBounded(t *testing.T) {
	var times []time.Time
	for i := range MaxKeys {
		times = append(times, noon.Add(time.Duration(i-MaxKeys)*time.Hour))
	}
	keys := keysUsableFrom(times...)
	policy := keyPolicy()
	policy.Period = time.Hour
	got := plan(t, noon, policy, keys)
	oldest, _ := keys.RemoveAfter(keys.list[0].ID, policy)
	if !got.Full || got.Changed || !got.Wake.Equal(oldest) {
		t.Errorf("full %v, changed %v, wake %s; want it full, unchanged, and to wake at %s", got.Full, got.Changed, got.Wake, oldest)
	}
	if got := plan(t, oldest, policy, keys); got.Full || len(got.Created) != 1 || len(got.Removed) == 0 {
		t.Errorf("when the oldest has gone: full %v, created %d, removed %d", got.Full, len(got.Created), len(got.Removed))
	}
}

// An id that is taken, or that was revoked, is not given again.
func TestKeyIDsDiffer(t *testing.T) {
	first, err := generateKey(fixedRandom())
	if err != nil {
		t.Fatal(err)
	}
	policy := keyPolicy()
	policy.Revoked = []KeyID{first.ID}
	if got := plan(t, noon, policy, nil); got.Created[0] == first.ID {
		t.Error("a revoked id is given again")
	}
	first.CreatedAt, first.UsableFrom, first.MaxLifetime = noon, noon.Add(-30*day), 14*day
	if got := plan(t, noon, keyPolicy(), &Keys{Revision: 1, list: []Key{first}}); len(got.Created) != 1 || got.Created[0] == first.ID {
		t.Errorf("created %v beside %s", got.Created, first.ID)
	}
}

func TestPlanKeysWithoutRandomness(t *testing.T) {
	if _, err := PlanKeys(noon, keyPolicy(), nil, bytes.NewReader(make([]byte, keySize-1))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("PlanKeys() with too few random bytes: %v", err)
	}
	old := keysUsableFrom(noon.Add(-40 * day))
	if _, err := PlanKeys(noon, keyPolicy(), old, bytes.NewReader(nil)); !errors.Is(err, io.EOF) {
		t.Errorf("PlanKeys() without random bytes: %v", err)
	}
}

// What was dropped as compromised is remembered, so that a revocation can be told from a mistyped one; what has merely
// come to its end is not.
func TestDroppedKeysAreRemembered(t *testing.T) {
	policy := keyPolicy()
	keys := keysUsableFrom(noon.Add(-90*day), noon.Add(-60*day), noon.Add(-time.Hour))
	expired, compromised := keys.list[0].ID, keys.list[2].ID
	revoke(3)(&policy)
	got := plan(t, noon, policy, keys).Keys
	if !slices.Equal(got.Dropped, []KeyID{compromised}) || got.Has(compromised) || got.Has(expired) {
		t.Errorf("dropped %s of %s and the expired %s", got.Dropped, compromised, expired)
	}
	for range 2 * maxDropped {
		newest := got.list[len(got.list)-1].ID
		policy.Revoked = []KeyID{newest}
		got = plan(t, noon, policy, got).Keys
		if last := got.Dropped[len(got.Dropped)-1]; last != newest || !got.Has(got.list[0].ID) {
			t.Fatalf("the last that was dropped is %s, want %s", last, newest)
		}
	}
	if len(got.Dropped) != maxDropped {
		t.Errorf("%d dropped keys are remembered, want %d", len(got.Dropped), maxDropped)
	}
	if again := plan(t, noon, policy, got); again.Changed {
		t.Error("a key that was dropped before is dropped again")
	}
}

// Keys that were handed out are shared, so two plans for the same ones must not write to one memory.
func TestPlansShareNothing(t *testing.T) {
	keys := keysUsableFrom(noon.Add(-2*time.Hour), noon.Add(-time.Hour))
	keys.Dropped = make([]KeyID, 0, 4)
	policy := keyPolicy()
	revoke(1)(&policy)
	one := plan(t, noon, policy, keys).Keys
	policy.Revoked = nil
	revoke(2)(&policy)
	other := plan(t, noon, policy, keys).Keys
	if one.Dropped[0] != keys.list[0].ID || other.Dropped[0] != keys.list[1].ID {
		t.Errorf("the plans dropped %s and %s, want %s and %s", one.Dropped, other.Dropped, keys.list[0].ID, keys.list[1].ID)
	}
}

func TestParseKeyID(t *testing.T) {
	id := KeyID{0xd4, 0x76, 0xa8, 0x0f}
	if got, ok := ParseKeyID(id.String()); !ok || got != id {
		t.Errorf("ParseKeyID(%s) = %s, %v", id, got, ok)
	}
	for _, text := range []string{"", "d476a8", "d476a80", "d476a80f00", "D476A80F", "d476a80g", " d476a80f", "MWtVjzi6p2O4ruhhJYB2KMeF8rpNgzP8fu1VGqUQOCU"} {
		if got, ok := ParseKeyID(text); ok {
			t.Errorf("ParseKeyID(%q) = %s, want none", text, got)
		}
	}
}
