// Package web holds the files of the example's page.
package web

import "embed"

// Files are those that the browser loads. index.html is a template, because it says where the issuer is.
//
//go:embed index.html style.css icon.svg keyturn.js page.js
var Files embed.FS
