package server

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"github.com/keyturn/keyturn/internal/issuers"
)

// publish shows a document of an issuer to the world. http.ServeContent compares If-None-Match with the entity tag
// (RFC 9110 section 13.1.2: a list, "*", weak comparison), answers 304, and leaves the body out for HEAD.
func publish(w http.ResponseWriter, r *http.Request, p *issuers.Publication, document issuers.Document, mediaType string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		methodNotAllowed(w, "GET, HEAD")
		return
	}
	// A part of a key set is of no use, and a cache could take it for the whole. RFC 9110 section 14.2 lets a server
	// ignore ranges.
	r.Header.Del("Range")
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Cache-Control", "public, max-age="+strconv.FormatInt(int64(p.MaxAge/time.Second), 10))
	header.Set("Etag", document.ETag)
	header.Set("X-Content-Type-Options", "nosniff")
	// Verifiers in browsers may read it from any page: it is public, and no cookie changes it.
	header.Set("Access-Control-Allow-Origin", "*")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(document.Body))
}
