// What a page can be asked about the course's outputs. Each function returns a list of complaints; an empty one is good.
window.checks = (() => {
  const visible = element => element.checkVisibility({checkVisibilityCSS: true, checkOpacity: true});
  const words = text => (text ?? '').replace(/\s+/g, ' ').trim();
  const all = (root, selector) => [...document.querySelectorAll(root)].flatMap(area => [...area.querySelectorAll(selector)]);
  const show = element => element.outerHTML.slice(0, 160);

  // The name that assistive technology reads: label, aria-label, or a button's own text.
  function name(control) {
    const labelled = (control.getAttribute('aria-labelledby') ?? '').split(' ').map(id => document.getElementById(id)?.textContent);
    return words(control.getAttribute('aria-label') || labelled.join(' ') ||
      [...(control.labels ?? [])].map(label => label.textContent).join(' ') || control.textContent || control.title);
  }

  // Where a control's state can be read by a program: native state, or the ARIA attribute of its role.
  function hasState(control) {
    if (control.matches('button,select,textarea,input')) return true;
    return ['aria-checked', 'aria-pressed', 'aria-valuenow', 'aria-expanded'].some(state => control.hasAttribute(state));
  }

  const controls = root => all(root, 'button,input,select,textarea,[role=slider],[role=button],[role=checkbox]').filter(visible)
    .filter(one => !one.matches('.noUi-handle'));  // ipywidgets' own, and without a name: Back and Next do the same

  return {
    unnamed: root => controls(root).filter(control => !name(control)).map(show),
    stateless: root => controls(root).filter(control => !hasState(control)).map(show),

    // The words of every picture; a picture inside a picture is decoration of it.
    pictures: root => all(root, 'img,svg,canvas').filter(visible).filter(one => !one.parentElement.closest('svg,[role=img]'))
      .filter(one => one.getAttribute('aria-hidden') !== 'true').map(one =>
        words(one.getAttribute('alt') ?? one.getAttribute('aria-label') ?? one.querySelector(':scope > title')?.textContent)),

    // Text that is cut off where nothing can be scrolled to it.
    clipped: root => {
      const lost = [];
      for (const area of document.querySelectorAll(root)) {
        const walker = document.createTreeWalker(area, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
          const text = walker.currentNode, range = document.createRange();
          if (!words(text.data) || !visible(text.parentElement) || text.parentElement.closest('style,script,title')) continue;
          range.selectNodeContents(text);
          const box = range.getBoundingClientRect();
          if (box.width < 2) continue;
          for (let up = text.parentElement; up && up !== document.body; up = up.parentElement) {
            const {overflowX, overflowY} = getComputedStyle(up);
            if (overflowX === 'auto' || overflowX === 'scroll' || overflowY === 'auto' || overflowY === 'scroll') break;
            const frame = up.getBoundingClientRect();
            const cut = overflowX !== 'visible' && (box.right > frame.right + 2 || box.left < frame.left - 2)
              || overflowY !== 'visible' && (box.bottom > frame.bottom + 3 || box.top < frame.top - 3);
            if (cut) { lost.push(`${words(text.data).slice(0, 60)} in ${up.className || up.tagName}`); break; }
          }
        }
      }
      return lost;
    },

    // The states of the bytes and the verdicts: what a class colours must also stand there as a sign.
    colourOnly: (root, letters, signs) => [
      ...all(root, 'td').filter(cell => Object.keys(letters).some(state => cell.classList.contains(state)))
        .filter(cell => !Object.entries(letters).some(([state, letter]) => cell.classList.contains(state) && cell.textContent.includes(letter))),
      ...all(root, '.v').filter(verdict => visible(verdict) && !signs.some(sign => words(verdict.textContent).includes(sign))),
    ].map(show),
  };
})();
