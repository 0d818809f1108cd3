//! HTML to Markdown.

use std::rc::Rc;

use htmd::element_handler::Handlers;
use htmd::{Element, HtmlToMarkdown, Node};
use markup5ever_rcdom::NodeData;
use ragstone_core::{Error, Result};

use super::{Raw, TextFormat};

/// Elements whose content is not text for a reader of the page.
const DROPPED: [&str; 9] = ["script", "style", "title", "template", "noscript", "iframe", "object", "svg", "canvas"];

/// Reads a page: headings, paragraphs, lists, tables, code and links become Markdown; pictures their description.
pub(super) fn read(html: &str) -> Result<Raw> {
    let converter = HtmlToMarkdown::builder().skip_tags(DROPPED.to_vec()).add_handler(vec!["img"], describe).build();
    let tree = converter
        .html_to_tree(html)
        .map_err(|error| Error::unprocessable(format!("the HTML could not be read: {error}")))?;
    Ok(Raw { title: title(&tree), ..Raw::new(converter.tree_to_markdown(&tree), TextFormat::Markdown) })
}

fn describe(_: &dyn Handlers, element: Element) -> Option<htmd::element_handler::HandlerResult> {
    let alt = element.attrs.iter().find(|attribute| &*attribute.name.local == "alt")?;
    Some(alt.value.to_string().into())
}

/// The text of the first `<title>`. Walks with its own stack: the page decides how deep the tree is.
fn title(tree: &Rc<Node>) -> Option<String> {
    let mut open = vec![Rc::clone(tree)];
    while let Some(node) = open.pop() {
        if let NodeData::Element { name, .. } = &node.data
            && &*name.local == "title"
        {
            return Some(node.children.borrow().iter().filter_map(text_of).collect());
        }
        open.extend(node.children.borrow().iter().rev().cloned());
    }
    None
}

fn text_of(node: &Rc<Node>) -> Option<String> {
    match &node.data {
        NodeData::Text { contents } => Some(contents.borrow().to_string()),
        _ => None,
    }
}
