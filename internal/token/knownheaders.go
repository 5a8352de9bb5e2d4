package token

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// knownHeaders remembers headers of tokens whose signature was good, as they are written: all tokens of one key and one
// signer have the same. It has a place for each of a few headers, and no more: another header that falls on a place takes
// it. Reading and writing take no lock.
type knownHeaders struct {
	seed   maphash.Seed
	places [64]atomic.Pointer[knownHeader]
}

type knownHeader struct {
	segment string // as in the token, encoded
	header  *Header
}

func newKnownHeaders() *knownHeaders { return &knownHeaders{seed: maphash.MakeSeed()} }

func (k *knownHeaders) place(segment string) *atomic.Pointer[knownHeader] {
	return &k.places[maphash.String(k.seed, segment)%uint64(len(k.places))]
}

// find returns what a header says that has passed parseHeader before, or nil.
func (k *knownHeaders) find(segment string) *Header {
	if known := k.place(segment).Load(); known != nil && known.segment == segment {
		return known.header
	}
	return nil
}

// remember returns what to keep in place of a header: it holds on neither to the token nor to the whole header, of which
// what is given are parts.
func (k *knownHeaders) remember(segment string, header *Header) *Header {
	kept := header.clone()
	k.place(segment).Store(&knownHeader{segment: strings.Clone(segment), header: kept})
	return kept
}

// headerSegment is the first of the three parts of a token.
func headerSegment(raw string) string {
	segment, _, _ := strings.Cut(raw, ".")
	return segment
}
