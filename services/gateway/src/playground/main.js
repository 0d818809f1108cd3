// The playground: one page over the public API, served by the gateway itself.

import * as ask from "./ask.js";
import * as documents from "./documents.js";
import * as passage from "./passage.js";
import * as status from "./status.js";

ask.start();
passage.start();
documents.start();
status.start(documents.refresh);
